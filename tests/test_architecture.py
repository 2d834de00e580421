"""Models by name, and by the fields of a Hugging Face config.json."""

import copy
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dsbench.mistake import Mistake
from pytest_dsbench.record import from_line, to_line
from pytest_dsbench.serving.model.architecture import Architecture, Gqa, Mla, Moe, from_config, named, names

ROOT = Path(__file__).parent.parent

DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "auto_map": {},
    "aux_loss_alpha": 0.001, "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
    "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1,
    "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
    "pretraining_tp": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "quantization_config": {
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "scale_fmt": "ue8m0",
        "weight_block_size": [128, 128],
    },
    "rms_norm_eps": 1e-06, "rope_scaling": {"factor": 40, "type": "yarn"}, "rope_theta": 10000, "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid", "seq_aux": True, "tie_word_embeddings": False, "topk_group": 4, "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16", "transformers_version": "4.46.3", "use_cache": True, "v_head_dim": 128, "vocab_size": 129280,
}  # fmt: skip
KIMI = DEEPSEEK | {
    "model_type": "kimi_k2", "first_k_dense_replace": 1, "max_position_embeddings": 131072, "n_group": 1,
    "n_routed_experts": 384,
    "num_attention_heads": 64, "num_key_value_heads": 64, "num_nextn_predict_layers": 0, "topk_group": 1, "vocab_size": 163840,
}  # fmt: skip
QWEN = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 12288, "max_position_embeddings": 40960, "max_window_layers": 36, "model_type": "qwen3",
    "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None,
    "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0", "use_cache": True, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
#: As the coder of 30 B has it, which states more than its sisters.
CODER = QWEN | {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
    "max_position_embeddings": 262144, "max_window_layers": 28, "num_hidden_layers": 48, "num_key_value_heads": 4,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 768, "norm_topk_prob": True, "num_experts": 128,
    "num_experts_per_tok": 8, "output_router_logits": False, "qkv_bias": False, "router_aux_loss_coef": 0.001,
    "shared_expert_intermediate_size": 0, "use_qk_norm": True,
}  # fmt: skip
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008], "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": False, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 8.0, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "transformers_version": "4.42.3", "use_cache": True, "vocab_size": 128256,
}  # fmt: skip
ALL: dict[str, dict[str, Any]] = {"deepseek": DEEPSEEK, "kimi": KIMI, "qwen": QWEN, "coder": CODER, "llama": LLAMA}


def write(folder: Path, config: object) -> Path:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2), encoding="utf-8")
    return path


def read(folder: Path, config: object, *ignored: str) -> Architecture:
    return from_config(write(folder, config), ignored)


def complaint(path: Path, *ignored: str) -> str:
    """What is wrong with the file: one sentence, without the path in front."""
    with pytest.raises(Mistake) as caught:
        from_config(path, ignored)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}:")
    return sentence.removeprefix(f"{path}:")


def without(config: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in fields}


# -- the figures ----------------------------------------------------------------------------------------------------------------


def attention_of(config: dict[str, Any]) -> int:
    """Weights of one layer's attention with its norms, straight from the config."""
    h, heads = config["hidden_size"], config["num_attention_heads"]
    if "kv_lora_rank" not in config:
        d, kv = config.get("head_dim", h // heads), config["num_key_value_heads"]
        return h * d * (2 * heads + 2 * kv) + (2 * d if config["model_type"].startswith("qwen3") else 0)
    q, c, nope, rope, v = (
        config[f] for f in ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    )
    down, up = h * q + h * (c + rope), q * heads * (nope + rope) + c * heads * (nope + v)
    return down + q + c + up + heads * v * h


def parameters(config: dict[str, Any], *, active: bool = False) -> int:
    """Weights in all, or those that one token meets, without the table of embeddings and the layer that guesses ahead."""
    h, layers = config["hidden_size"], config["num_hidden_layers"]
    experts = config.get("n_routed_experts", config.get("num_experts", 0))
    dense = config.get("first_k_dense_replace", 0) if experts else layers
    gathered = (config["num_experts_per_tok"] if active else experts) + config.get("n_shared_experts", 0) if experts else 0
    bias = experts if "n_routed_experts" in config else 0
    moe = h * experts + bias + 3 * h * config.get("moe_intermediate_size", 0) * gathered
    table = h * config["vocab_size"]
    mlp = dense * 3 * h * config["intermediate_size"] + (layers - dense) * moe
    return layers * (attention_of(config) + 2 * h) + h + mlp + (table if active else 2 * table)


def counted(model: Architecture, *, active: bool = False) -> int:
    """The same out of the record: written down a second time, from its own fields."""
    match model.attention:
        case Mla(q_lora_rank=int(q)) as a:
            mixing = model.hidden * (q + a.kv_lora_rank + a.rope_dim) + q + a.kv_lora_rank
            mixing += model.heads * (
                q * (a.nope_dim + a.rope_dim) + a.kv_lora_rank * (a.nope_dim + a.v_dim) + a.v_dim * model.hidden
            )
        case Gqa() as a:
            mixing = 2 * model.hidden * a.head_dim * (model.heads + a.kv_heads) + 2 * a.head_dim * a.qk_norm
        case other:
            raise AssertionError(other)
    total = model.layers * (mixing + 2 * model.hidden) + model.hidden
    total += model.dense_layers * 3 * model.hidden * model.intermediate
    if model.moe:
        width = model.moe.shared + model.moe.intermediate * (model.moe.top_k if active else model.moe.experts)
        gate = model.moe.experts * (model.hidden + (model.moe.scoring == "sigmoid"))
        total += model.moe_layers * (3 * model.hidden * width + gate)
    return total + model.vocab * model.hidden * (1 if active or model.tied else 2)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        # the published counts of the weights' files; active ones as the model cards round them
        ("deepseek_v3", 671_026_419_200, 36.6e9),
        ("deepseek_r1", 671_026_419_200, 36.6e9),
        ("qwen3_30b_a3b", 30_532_122_624, 3.0e9),
        ("qwen3_8b", 8_190_735_360, 7.6e9),
    ],
)
def test_bundled_models_have_their_published_number_of_parameters(name: str, total: int, active: float) -> None:
    model = named(name)
    assert counted(model) == total
    assert counted(model, active=True) == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize(
    ("which", "total"),
    [("deepseek", 671_026_419_200), ("qwen", 8_190_735_360), ("coder", 30_532_122_624), ("llama", 8_030_261_248)],
)
def test_configs_have_their_published_number_of_parameters(tmp_path: Path, which: str, total: int) -> None:
    assert parameters(ALL[which]) == counted(read(tmp_path, ALL[which])) == total


def test_kimi_k2(tmp_path: Path) -> None:
    model = read(tmp_path, KIMI)
    assert counted(model) == parameters(KIMI) == pytest.approx(1.026e12, rel=0.001)
    assert counted(model, active=True) == pytest.approx(32e9, rel=0.03)
    assert (model.dense_layers, model.heads, model.draft_layers) == (1, 64, 0)
    assert model.moe == Moe(experts=384, top_k=8, intermediate=2048, shared=2048, groups=1, kept_groups=1, scoring="sigmoid")


def test_what_ships() -> None:
    assert names() == ["deepseek_r1", "deepseek_v3", "qwen3_30b_a3b", "qwen3_8b"]
    for name in names():
        model = named(name)
        assert model.name == name
        assert "Hugging Face" in model.source
        assert from_line(to_line(model), Architecture, "here") == model


def test_deepseek_v3_field_by_field() -> None:
    model = named("deepseek_v3")
    assert model == Architecture(
        name="deepseek_v3",
        title="DeepSeek-V3",
        source=model.source,
        hidden=7168,
        layers=61,
        vocab=129280,
        heads=128,
        attention=Mla(q_lora_rank=1536, kv_lora_rank=512, nope_dim=128, rope_dim=64, v_dim=128),
        intermediate=18432,
        dense_layers=3,
        moe=Moe(experts=256, top_k=8, intermediate=2048, shared=2048, groups=8, kept_groups=4, scoring="sigmoid"),
        draft_layers=1,
        tied=False,
        fp8_block=True,
        max_positions=163840,
    )
    assert model.moe_layers == 58
    assert named("deepseek_r1") == model.replace(name="deepseek_r1", title="DeepSeek-R1", source=named("deepseek_r1").source)


def test_qwen_field_by_field() -> None:
    moe = named("qwen3_30b_a3b")
    assert (moe.hidden, moe.layers, moe.heads, moe.dense_layers, moe.moe_layers) == (2048, 48, 32, 0, 48)
    assert moe.attention == Gqa(kv_heads=4, head_dim=128, qk_norm=True)
    assert moe.moe == Moe(experts=128, top_k=8, intermediate=768, shared=0, groups=1, kept_groups=1, scoring="softmax")
    dense = named("qwen3_8b")
    assert (dense.moe, dense.dense_layers, dense.moe_layers, dense.intermediate) == (None, 36, 0, 12288)
    assert (dense.tied, dense.fp8_block, dense.draft_layers, dense.vocab) == (False, False, 0, 151936)


def test_bundled_models_are_those_of_the_layers() -> None:
    """The layer files say the same of the same models."""
    r1, eight = named("deepseek_r1"), named("qwen3_8b")
    layer = tomllib.loads((ROOT / "models" / "deepseek_r1.toml").read_text(encoding="utf-8"))["constants"]
    assert isinstance(r1.attention, Mla) and r1.moe
    ours = {name: getattr(r1.attention, name) for name in ("q_lora_rank", "kv_lora_rank", "nope_dim", "rope_dim", "v_dim")}
    ours |= {name: getattr(r1.moe, name) for name in ("experts", "top_k", "intermediate", "groups", "kept_groups")}
    ours |= {name: getattr(r1, name) for name in ("hidden", "heads", "layers", "dense_layers", "max_positions")}
    ours["dense_intermediate"] = r1.intermediate
    assert ours == {name: layer[name] for name in ours}
    layer = tomllib.loads((ROOT / "models" / "qwen3_8b.toml").read_text(encoding="utf-8"))["constants"]
    assert isinstance(eight.attention, Gqa)
    assert (eight.hidden, eight.heads, eight.layers, eight.intermediate) == tuple(
        layer[name] for name in ("hidden", "q_heads", "layers", "intermediate")
    )
    assert (eight.attention.kv_heads, eight.attention.head_dim) == (layer["kv_heads"], layer["head_dim"])


@pytest.mark.parametrize(("bundled", "config"), [("deepseek_v3", DEEPSEEK), ("qwen3_8b", QWEN)])
def test_a_config_says_what_the_bundled_model_says(tmp_path: Path, bundled: str, config: dict[str, Any]) -> None:
    ours = named(bundled)
    assert read(tmp_path, config).replace(name=ours.name, title=ours.title, source=ours.source) == ours


def test_name_and_source_of_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Qwen3-8B"
    folder.mkdir()
    model = read(folder, QWEN)
    assert (model.name, model.title, model.source) == ("Qwen3-8B", "Qwen3-8B", str(folder / "config.json"))
    monkeypatch.chdir(folder)
    assert named("config.json").name == "Qwen3-8B"
    (folder / "mine.json").write_text(json.dumps(QWEN), encoding="utf-8")
    assert named("mine.json").name == "mine"


# -- rules of the families ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "dense"),
    [
        ({}, 0),
        ({"decoder_sparse_step": 2}, 24),
        ({"decoder_sparse_step": 5}, 48 - 9),
        ({"mlp_only_layers": [0, 1, 47, 47]}, 3),
        # layers 1, 3, 5 ... have experts, of which 3 is taken out; 2 had none
        ({"decoder_sparse_step": 2, "mlp_only_layers": [2, 3]}, 25),
        ({"mlp_only_layers": None}, 0),
    ],
)
def test_dense_layers_of_qwen(tmp_path: Path, changes: dict[str, Any], dense: int) -> None:
    model = read(tmp_path, CODER | changes)
    assert (model.dense_layers, model.moe_layers) == (dense, 48 - dense)


@pytest.mark.parametrize(
    ("changes", "dense"),
    [
        ({"first_k_dense_replace": 0}, 0),
        # of the layers from 3, the even ones: 4, 6 ... 60
        ({"moe_layer_freq": 2}, 61 - 29),
        ({"first_k_dense_replace": 60}, 60),
    ],
)
def test_dense_layers_of_deepseek(tmp_path: Path, changes: dict[str, Any], dense: int) -> None:
    assert read(tmp_path, DEEPSEEK | changes).dense_layers == dense


@pytest.mark.parametrize(
    ("which", "changes"),
    [
        ("deepseek", {"first_k_dense_replace": 61}),
        ("deepseek", {"n_routed_experts": None}),
        ("coder", {"decoder_sparse_step": 49}),
        ("coder", {"mlp_only_layers": list(range(48))}),
    ],
)
def test_without_an_moe_layer_there_are_no_experts(tmp_path: Path, which: str, changes: dict[str, Any]) -> None:
    model = read(tmp_path, ALL[which] | changes)
    assert model.moe is None and model.dense_layers == model.layers


def test_absent_fields_with_a_meaning(tmp_path: Path) -> None:
    llama = read(tmp_path, without(LLAMA, "tie_word_embeddings"))
    assert (llama.attention, llama.tied) == (Gqa(kv_heads=8, head_dim=128, qk_norm=False), False)
    assert read(tmp_path, without(LLAMA, "num_key_value_heads")).attention == Gqa(kv_heads=32, head_dim=128, qk_norm=False)
    assert read(tmp_path, LLAMA | {"tie_word_embeddings": True}).tied
    assert read(tmp_path, LLAMA | {"head_dim": 64}).attention == Gqa(kv_heads=8, head_dim=64, qk_norm=False)
    assert read(tmp_path, without(QWEN, "head_dim")).attention == Gqa(kv_heads=8, head_dim=128, qk_norm=True)
    later = read(tmp_path, without(DEEPSEEK, "num_nextn_predict_layers", "moe_layer_freq", "scoring_func", "quantization_config"))
    assert (later.draft_layers, later.dense_layers, later.fp8_block) == (0, 3, False)
    assert later.moe and later.moe.scoring == "sigmoid"


def test_null_fields_with_a_meaning(tmp_path: Path) -> None:
    model = read(tmp_path, DEEPSEEK | {"q_lora_rank": None, "n_group": None, "topk_group": None, "n_shared_experts": None})
    assert isinstance(model.attention, Mla) and model.attention.q_lora_rank is None
    assert model.moe == Moe(experts=256, top_k=8, intermediate=2048, shared=0, groups=1, kept_groups=1, scoring="sigmoid")


def test_several_shared_experts(tmp_path: Path) -> None:
    model = read(tmp_path, DEEPSEEK | {"n_shared_experts": 2, "scoring_func": "softmax"})
    assert model.moe and (model.moe.shared, model.moe.scoring) == (4096, "softmax")


def test_a_window_that_is_off(tmp_path: Path) -> None:
    assert read(tmp_path, QWEN | {"sliding_window": 4096}) == read(tmp_path, QWEN)
    assert read(tmp_path, QWEN | {"use_sliding_window": True}) == read(tmp_path, QWEN)
    assert read(tmp_path, QWEN | {"layer_types": ["full_attention"] * 36}) == read(tmp_path, QWEN)


def test_fields_that_decide_no_shape(tmp_path: Path) -> None:
    more = {"dtype": "bfloat16", "rope_parameters": {}, "pad_token_id": None, "_name_or_path": "x", "num_labels": 0}
    assert read(tmp_path, QWEN | more) == read(tmp_path, QWEN)


# -- mistakes -------------------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "zero": ("qwen", {"hidden_size": 0}, "hidden_size is 0; expected a whole number from 1 to 1,000,000,000"),
    "negative": ("qwen", {"vocab_size": -1}, "vocab_size is -1; expected a whole number"),
    "true": ("qwen", {"num_hidden_layers": True}, "num_hidden_layers is true; expected a whole number from 1 to 10,000"),
    "words": ("qwen", {"head_dim": "128"}, 'head_dim is "128"; expected a whole number'),
    "half": ("qwen", {"num_attention_heads": 32.0}, "num_attention_heads is 32.0; expected a whole number"),
    "nan": ("qwen", {"intermediate_size": math.nan}, "intermediate_size is NaN; expected a whole number"),
    "null": ("qwen", {"max_position_embeddings": None}, "max_position_embeddings is null; expected a whole number"),
    "list": ("deepseek", {"kv_lora_rank": [1] * 99}, "kv_lora_rank is [1, 1, 1, "),
    "huge": ("qwen", {"hidden_size": 10**12}, "hidden_size is 1000000000000; expected a whole number from 1 to"),
    "layers": ("qwen", {"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000; expected a whole number from 1 to 10,000"),
    "kv heads": ("qwen", {"num_key_value_heads": 5}, "num_attention_heads 32 is no multiple of num_key_value_heads 5"),
    "head_dim": (
        "llama", {"num_attention_heads": 24}, "hidden_size 4,096 is no multiple of num_attention_heads 24",
    ),
    "head_dim of qwen": (
        "coder", {"head_dim": None},
        "head_dim is missing; transformers takes 128 for a qwen3_moe model, hidden_size / num_attention_heads is 64: state it",
    ),
    "groups": ("deepseek", {"n_group": 7}, "n_routed_experts 256 is no multiple of n_group 7"),
    "kept groups": ("deepseek", {"topk_group": 9}, "topk_group is 9; expected no more than 8, the groups of n_group"),
    "top k": ("coder", {"num_experts_per_tok": 129}, "num_experts_per_tok is 129; expected no more than 128, the experts of num"),
    "top k of groups": (
        "deepseek", {"num_experts_per_tok": 129}, "num_experts_per_tok is 129; expected no more than 128, the experts in 4 of 8",
    ),
    "first dense": (
        "deepseek", {"first_k_dense_replace": 62}, "first_k_dense_replace is 62; expected no more than 61, the layers of num_hid",
    ),
    "frequency": ("deepseek", {"moe_layer_freq": 0}, "moe_layer_freq is 0; expected a whole number from 1"),
    "step": ("coder", {"decoder_sparse_step": 0}, "decoder_sparse_step is 0; expected a whole number from 1"),
    "layer": ("coder", {"mlp_only_layers": [48]}, "mlp_only_layers is [48]; expected a list of layers from 0 to 47"),
    "layer of words": ("coder", {"mlp_only_layers": "all"}, 'mlp_only_layers is "all"; expected a list of layers from 0 to 47'),
    "layer true": ("coder", {"mlp_only_layers": [True]}, "mlp_only_layers is [true]; expected a list of layers"),
    "shared": ("coder", {"shared_expert_intermediate_size": 512}, "shared_expert_intermediate_size has 512, which is not modell"),
    "scoring": ("deepseek", {"scoring_func": ["sigmoid"]}, "scoring_func is [\"sigmoid\"]; expected 'sigmoid' or 'softmax'"),
    "tied": ("qwen", {"tie_word_embeddings": "no"}, 'tie_word_embeddings is "no"; expected true or false'),
    "tied 0": ("qwen", {"tie_word_embeddings": 0}, "tie_word_embeddings is 0; expected true or false"),
    "awq": ("qwen", {"quantization_config": {"quant_method": "awq"}}, 'quantization_config has quant_method "awq", which is not'),
    "fp8 by tensor": (
        "qwen", {"quantization_config": {"quant_method": "fp8"}}, "quantization_config has quant_method 'fp8' without weight_blo",
    ),
    "fp8 block": (
        "qwen", {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128]}},
        "weight_block_size is [128]; expected two whole numbers, such as [128, 128]",
    ),
    "fp8 block of true": (
        "qwen", {"quantization_config": {"quant_method": "fp8", "weight_block_size": [True, 0]}}, "weight_block_size is [true, 0",
    ),
    "quantisation of words": ("qwen", {"quantization_config": "fp8"}, 'quantization_config is "fp8"; expected an object with'),
    "window": (
        "qwen", {"use_sliding_window": True, "sliding_window": 4096},
        "sliding_window has a window of 4,096 tokens, which is not modelled; expected attention over the whole context, or "
        "--ignore-field sliding_window to compute without it",
    ),
    "layer types": (
        "qwen", {"layer_types": ["full_attention", "sliding_attention"]}, 'layer_types has "sliding_attention", which is not',
    ),
    "layer types of words": ("qwen", {"layer_types": "full_attention"}, 'layer_types has "full_attention", which is not'),
    "family": (
        "qwen", {"model_type": "qwen2"}, "unknown model_type 'qwen2'; did you mean 'qwen3'? known: deepseek_v3, kimi_k2, llama,",
    ),
    "family of list": ("qwen", {"model_type": ["qwen3"]}, 'model_type is ["qwen3"]; expected a name'),
    "multimodal": (
        "qwen", {"text_config": QWEN},
        "the config of a multimodal model; take the object of text_config, its language model, as a file of its own",
    ),
    "another family's": (
        "qwen", {"n_shared_experts": 1},
        "unknown model field 'n_shared_experts' of a qwen3 model; if it decides no shape, --ignore-field n_shared_experts passes",
    ),
    "two lines": ("qwen", {"a\nb": 1}, "unknown model field 'a\\nb' of a qwen3 model; if"),
    "surrogate": ("qwen", {"\ud800": 1}, "unknown model field '\\ud800' of a qwen3 model; if"),
}  # fmt: skip


@pytest.mark.parametrize(("which", "changes", "says"), BAD.values(), ids=BAD.keys())
def test_bad_field(tmp_path: Path, which: str, changes: dict[str, Any], says: str) -> None:
    path = write(tmp_path, ALL[which] | changes)
    line, _, sentence = complaint(path).partition(": ")
    assert sentence.startswith(says)
    field = next((name for name in changes if name in sentence), None)
    if field and path.read_text().count(f'"{field}":') == 1 and "is missing" not in sentence:
        assert f'"{field}":' in path.read_text().splitlines()[int(line) - 1]


@pytest.mark.parametrize("which", ALL)
def test_what_every_family_needs(tmp_path: Path, which: str) -> None:
    """Dropping a field gives a model, or the sentence that it is missing."""
    missing = set()
    for field in ALL[which]:
        path = write(tmp_path, without(ALL[which], field))
        try:
            from_config(path)
        except Mistake as mistake:
            assert str(mistake).startswith(f"{path}:1: {field} is missing; ")
            missing.add(field)
    common = {"model_type", "hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "intermediate_size"}
    latent = {"q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "n_group", "topk_group"}
    experts = {"num_experts_per_tok", "moe_intermediate_size"}
    deepseek = latent | experts | {"first_k_dense_replace", "n_routed_experts", "n_shared_experts"}
    own = {
        "deepseek": deepseek,
        "kimi": deepseek,
        "qwen": {"num_key_value_heads"},
        "coder": experts | {"num_key_value_heads", "num_experts", "head_dim"},
        "llama": set(),
    }
    assert missing - {"head_dim"} == (common | {"max_position_embeddings"} | own[which]) - {"head_dim"}
    assert ("head_dim" in missing) == ("head_dim" in own[which])


def test_a_misspelled_field(tmp_path: Path) -> None:
    config = without(CODER, "num_experts") | {"num_expert": 128}
    path = write(tmp_path, config)
    line = path.read_text().splitlines().index('  "num_expert": 128') + 1
    assert complaint(path) == (
        f"{line}: unknown model field 'num_expert' of a qwen3_moe model; did you mean 'num_experts'? "
        "if it decides no shape, --ignore-field num_expert passes over it"
    )
    assert complaint(path, "num_expert") == "1: num_experts is missing; did you mean it by 'num_expert'?"
    path = write(tmp_path, {"modeltype": "qwen3"})
    assert complaint(path) == "1: model_type is missing; did you mean it by 'modeltype'?"


def test_ignored_fields(tmp_path: Path) -> None:
    odd = QWEN | {"mystery": 1, "quantization_config": {"quant_method": "awq"}}
    with pytest.raises(Mistake, match="unknown model field 'mystery'"):
        read(tmp_path, odd, "quantization_config")
    assert read(tmp_path, odd, "mystery", "quantization_config", "not there") == read(tmp_path, QWEN)
    assert complaint(write(tmp_path, QWEN), "hidden_size").endswith(": hidden_size is needed; --ignore-field cannot pass over it")


TEXTS = {
    "empty": ("", "1: the file is empty; expected the object of a Hugging Face config.json"),
    "blank": (" \r\n\n", "1: the file is empty"),
    "a list": ("[1]", "1: holds a list; expected the object of a Hugging Face config.json"),
    "a number": ("7", "1: holds a single value; expected the object"),
    "no fields": ("{}", "1: model_type is missing; a config.json of Hugging Face has it"),
    "cut": ('{\n  "hidden_size": 7168,\n', "3: not JSON: Expecting property name enclosed in double quotes at column 1"),
    "comma": ('{\n  "hidden_size": 7168\n  "vocab_size": 7\n}', "3: not JSON: Expecting ',' delimiter at column 3"),
    "twice": ('{"a": {"b": 1},\n"b": 2,\n"a": 3}', "3: field 'a' stands twice, first on line 1"),
    "twice inside": ('{"a": [{"b": 1}, {"b": 1,\n "\\u0062": 2}]}', "2: field 'b' stands twice, first on line 1"),
    "deep": ("[" * 100_000, "1: not JSON that can be read: maximum recursion depth exceeded"),
    "digits": ('{"hidden_size": ' + "9" * 5000 + "}", "1: not JSON that can be read: Exceeds the limit"),
    "words that look like a field": ('{"x": "\\"model_type\\": {",\n"model_type": 1}', "2: model_type is 1; expected a name"),
}


@pytest.mark.parametrize(("text", "says"), TEXTS.values(), ids=TEXTS.keys())
def test_bad_text(tmp_path: Path, text: str, says: str) -> None:
    assert complaint(write(tmp_path, text)).startswith(says)


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    text = json.dumps(QWEN, indent=1)
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert from_config(path) == read(tmp_path, QWEN)
    bad = json.dumps(QWEN | {"vocab_size": 0}, indent=1).replace("\n", "\r\n")
    path.write_bytes(bad.encode())
    line = next(number for number, one in enumerate(bad.splitlines(), 1) if "vocab_size" in one)
    assert complaint(path).startswith(f"{line}: vocab_size is 0; ")


def test_what_is_no_config(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{\n"title": "\xff"}')
    assert complaint(path) == "2: not UTF-8 text; save the file as UTF-8"
    path.write_bytes(json.dumps(QWEN).encode("utf-16-le"))
    assert complaint(path).startswith("1: not UTF-8 text")
    path.write_bytes(b" " * 5_000_000)
    with pytest.raises(Mistake) as caught:
        from_config(path)
    assert str(caught.value) == f"{path} has 5.00 MB; expected a config.json, which has a few kilobytes"
    with pytest.raises(Mistake) as caught:
        from_config(tmp_path)
    assert str(caught.value) == f"{tmp_path} is a folder; expected a config.json, such as {path}"
    for absent in ("nowhere.json", "x" * 999 + ".json"):
        with pytest.raises(Mistake, match="^cannot read the model .*: (No such file or directory|File name too long)$"):
            named(str(tmp_path / absent))


def test_unknown_model() -> None:
    with pytest.raises(Mistake) as caught:
        named("deepseek_v2")
    assert str(caught.value) == (
        "unknown model 'deepseek_v2'; did you mean 'deepseek_v3'? "
        "known: deepseek_r1, deepseek_v3, qwen3_30b_a3b, qwen3_8b, or the path of a config.json or .toml file"
    )


# -- our own format -------------------------------------------------------------------------------------------------------------

OWN = """\
title = "Ours"
source = "us"

[config]
model_type = "llama"
hidden_size = 64
num_hidden_layers = 2
vocab_size = 100
num_attention_heads = 4
num_key_value_heads = 2
intermediate_size = 128
max_position_embeddings = 1024
"""


def test_a_model_in_our_own_format(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(OWN, encoding="utf-8")
    model = named(str(path))
    assert (model.name, model.title, model.source) == ("ours", "Ours", "us")
    assert (model.hidden, model.layers, model.attention) == (64, 2, Gqa(kv_heads=2, head_dim=16, qk_norm=False))
    path.write_text(OWN.replace('title = "Ours"\n', "").replace("[config]", "[config]\nmystery = nan"), encoding="utf-8")
    assert named(str(path), ["mystery"]).title == "ours"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('source = "us"', "", "1: source is missing; a sheet needs source, config"),
        ('source = "us"', 'source = "us"\nvocab = 7', "3: unknown key 'vocab'; known: config, source, title"),
        ('title = "Ours"', "title = 7", "1: title is 7; expected words in quotes"),
        ("[config]", "[confgi]", "4: unknown key 'confgi'; did you mean 'config'? "),
        ("hidden_size = 64", "hidden_size = 0", "6: hidden_size is 0; expected a whole number from 1"),
        ("hidden_size = 64", "hidden_size = nan", "6: hidden_size is NaN; expected a whole number"),
        ("hidden_size = 64", "hidden_size = 2026-11-21", '6: hidden_size is "2026-11-21"; expected a whole number'),
        ("vocab_size", "vocab_sise", "8: unknown model field 'vocab_sise' of a llama model; did you mean 'vocab_size'? "),
        ("vocab_size = 100\n", "", "4: vocab_size is missing; the config.json of a llama model has it"),
        ("hidden_size = 64", "hidden_size 64", "6: not TOML: Expected '=' after a key in a key/value pair"),
        ("hidden_size = 64", "vocab_size = 1", "8: not TOML: Cannot overwrite a value"),
        ("hidden_size = 64", "hidden_size = " + "9" * 5000, "12: not TOML: Exceeds the limit"),
    ],
)
def test_a_mistake_in_our_own_format(tmp_path: Path, before: str, after: str, says: str) -> None:
    path = tmp_path / "ours.toml"
    assert before in OWN
    path.write_text(OWN.replace(before, after), encoding="utf-8")
    with pytest.raises(Mistake) as caught:
        named(str(path))
    assert str(caught.value).startswith(f"{path}:{says}")


# -- anything -------------------------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-2, 99), max_size=3),
    st.sampled_from(
        [10**30, 10**400, math.nan, [[]], {}, {"quant_method": "fp8"}, [True], "fp8", "qwen3", "llama", "deepseek_v3"]
    ),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A good config with some fields dropped, renamed, retyped or added."""
    config = copy.deepcopy(draw(st.sampled_from(list(ALL.values()))))
    for _ in range(draw(st.integers(1, 3))):
        field = draw(st.sampled_from(sorted(config)))
        match draw(st.sampled_from(["drop", "rename", "retype", "add"])):
            case "drop":
                del config[field]
            case "rename":
                config[draw(st.sampled_from([field[:-1], field + "s", field.upper(), ""]))] = config.pop(field)
            case "retype":
                config[field] = draw(VALUES)
            case _:
                known = sorted({name for one in ALL.values() for name in one} | {"text_config", "layer_types"})
                config[draw(st.sampled_from(known))] = draw(VALUES)
    return config


@settings(max_examples=400, deadline=None)
@given(config=mutated())
def test_any_change_gives_a_model_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    try:
        model = from_config(path)
    except Mistake as mistake:
        assert str(mistake).startswith(f"{path}:") and "\n" not in str(mistake)
        assert str(mistake).isprintable()
        return
    assert (model.moe is None) == (model.dense_layers == model.layers)
    assert 0 <= model.dense_layers <= model.layers
    assert min(model.hidden, model.layers, model.vocab, model.heads, model.intermediate, model.max_positions) >= 1
    if isinstance(model.attention, Gqa):
        assert model.heads % model.attention.kv_heads == 0
    if model.moe:
        assert 1 <= model.moe.kept_groups <= model.moe.groups
        assert 1 <= model.moe.top_k <= model.moe.kept_groups * model.moe.experts / model.moe.groups
    assert from_line(to_line(model), Architecture, "here") == model


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 3000), put=st.binary(max_size=4))
def test_any_bytes_give_a_model_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, cut: int, put: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.json"
    text = json.dumps(DEEPSEEK, indent=1).encode()
    path.write_bytes(text[:cut] + put + text[cut + len(put) :])
    try:
        from_config(path)
    except Mistake as mistake:
        assert str(mistake).startswith(f"{path}:") and "\n" not in str(mistake)
