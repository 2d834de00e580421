"""The families of models whose config.json is understood, and which of its fields decide shapes."""

from typing import Literal

from ...record import Record


class Family(Record):
    """What the models of one model_type have in common; figures come from the config."""

    #: the fields that decide shapes, beyond those of every family
    shapes: tuple[str, ...]
    #: whether attention is latent (MLA)
    latent: bool = False
    #: the field that counts the routed experts; None for a dense model
    experts: str | None = None
    #: whether queries and keys are normalised head by head
    qk_norm: bool = False
    #: whether num_key_value_heads has to be there; where not, it is num_attention_heads
    kv_heads_stated: bool = True
    #: how the router scores, where the config does not say
    scoring: Literal["sigmoid", "softmax"] = "softmax"
    #: what transformers takes for head_dim where the config has none; None for hidden_size / num_attention_heads
    head_dim: int | None = None


_GQA = ("num_key_value_heads", "head_dim", "sliding_window", "use_sliding_window", "layer_types")
_DEEPSEEK = Family(
    shapes=(
        "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "first_k_dense_replace",
        "moe_layer_freq", "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "n_shared_experts", "n_group",
        "topk_group", "scoring_func", "num_nextn_predict_layers",
    ),
    latent=True,
    experts="n_routed_experts",
    scoring="sigmoid",
)  # fmt: skip

#: By model_type. The rules, and what an absent field means, are those of the model's configuration class in transformers.
FAMILIES: dict[str, Family] = {
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "llama": Family(shapes=_GQA, kv_heads_stated=False),
    "qwen3": Family(shapes=_GQA, qk_norm=True, head_dim=128),
    "qwen3_moe": Family(
        shapes=(
            *_GQA, "decoder_sparse_step", "mlp_only_layers", "num_experts", "num_experts_per_tok", "moe_intermediate_size",
            "shared_expert_intermediate_size",
        ),
        experts="num_experts",
        qk_norm=True,
        head_dim=128,
    ),
}  # fmt: skip

#: Fields that decide shapes in every family.
SHAPES = (
    "model_type", "hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "intermediate_size",
    "tie_word_embeddings", "max_position_embeddings", "quantization_config",
)  # fmt: skip
#: Fields that decide no shape: how a model was trained, generates text, scales its positions, is stored, and the generic ones of
#: every config. The list is generous, so that a published config passes, and a slip in a name does not.
NEUTRAL = frozenset({
    "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_commit_hash", "_name_or_path",
    "add_cross_attention", "architectures", "attention_bias", "attention_dropout", "attn_implementation", "attribute_map",
    "auto_map", "aux_loss_alpha", "bad_words_ids", "base_model_ep_plan", "base_model_pp_plan", "base_model_tp_plan",
    "begin_suppress_tokens", "bos_token_id", "cache_implementation", "chunk_size_feed_forward", "cross_attention_hidden_size",
    "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype", "early_stopping", "encoder_no_repeat_ngram_size",
    "eos_token_id", "ep_size", "experts_implementation", "exponential_decay_length_penalty", "finetuning_task",
    "forced_bos_token_id", "forced_eos_token_id", "generation_config", "hidden_act", "id2label", "initializer_range",
    "is_decoder", "is_encoder_decoder", "keys_to_ignore_at_inference", "label2id", "length_penalty", "max_length",
    "max_window_layers", "min_length", "mlp_bias", "no_repeat_ngram_size", "norm_topk_prob", "num_beam_groups", "num_beams",
    "num_labels", "num_return_sequences", "output_attentions", "output_hidden_states", "output_router_logits", "output_scores",
    "pad_token_id", "prefix", "pretraining_tp", "problem_type", "pruned_heads", "qkv_bias", "remove_invalid_values",
    "repetition_penalty", "return_dict", "return_dict_in_generate", "rms_norm_eps", "rope_interleave", "rope_parameters",
    "rope_scaling", "rope_theta", "routed_scaling_factor", "router_aux_loss_coef", "sep_token_id", "seq_aux", "suppress_tokens",
    "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tokenizer_class", "top_k", "top_p",
    "topk_method", "torch_dtype", "torchscript", "transformers.js_config", "transformers_version", "typical_p", "unsloth_fixed",
    "unsloth_version", "use_bfloat16", "use_cache", "use_qk_norm", "use_return_dict",
})  # fmt: skip
#: Those that only latent attention does without.
NEUTRAL_LATENT = frozenset({"head_dim", "num_key_value_heads", "qk_head_dim"})
