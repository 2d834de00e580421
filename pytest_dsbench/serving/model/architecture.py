"""Architecture: what of a model's config.json decides the shapes of its layers; loaded by name or by path."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from ... import datasheet
from ...datasheet import SheetError
from ...mistake import Mistake, unknown
from ...record import Record
from .configjson import read_json
from .fields import Fields, fields_of

MODELS = Path(__file__).parent


class Mla(Record, tag="mla"):
    """Latent attention: keys and values are kept as one compressed vector per token."""

    #: width of the compressed query; None where the query is one projection from hidden
    q_lora_rank: int | None
    #: width of the compressed keys and values
    kv_lora_rank: int
    #: width of a head's query and key without position
    nope_dim: int
    #: width of a head's query and key with rotary position
    rope_dim: int
    #: width of a head's value
    v_dim: int


class Gqa(Record, tag="gqa"):
    """Grouped-query attention: several query heads share one head of keys and values."""

    kv_heads: int
    head_dim: int
    #: whether queries and keys are normalised head by head
    qk_norm: bool


class Moe(Record):
    """The routed and shared experts of a layer."""

    #: routed experts, and how many of them a token goes to
    experts: int
    top_k: int
    #: width of a routed expert
    intermediate: int
    #: width of the shared experts together; 0 for none
    shared: int
    #: groups of experts, and how many of them a token keeps; 1, 1 without groups
    groups: int
    kept_groups: int
    scoring: Literal["sigmoid", "softmax"]


class Architecture(Record):
    """The shapes of a model, and where they were read."""

    #: short name, as in --model; the file's stem
    name: str
    #: the name people use
    title: str
    #: where the figures come from
    source: str
    hidden: int
    layers: int
    vocab: int
    #: query heads
    heads: int
    attention: Mla | Gqa
    #: width of a dense MLP
    intermediate: int
    #: layers with a dense MLP; as many as `layers` where `moe` is None
    dense_layers: int
    moe: Moe | None
    #: layers that guess tokens ahead, beyond `layers`; 0 for none
    draft_layers: int
    #: whether head and embedding are one matrix
    tied: bool
    #: whether the weights are published in block-scaled fp8
    fp8_block: bool
    max_positions: int

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers


def names() -> list[str]:
    """The bundled models."""
    return sorted(path.stem for path in MODELS.glob("*.toml"))


def named(name_or_path: str, ignored: Collection[str] = ()) -> Architecture:
    """The bundled model of that name, or the one at a path that ends in `.toml` or `.json`. Raises Mistake."""
    if name_or_path.endswith(".json"):
        return from_config(Path(name_or_path), ignored)
    if name_or_path.endswith(".toml"):
        return _from_toml(Path(name_or_path), ignored)
    if name_or_path not in names():
        raise Mistake(f"{unknown('model', name_or_path, names())}, or the path of a config.json or .toml file")
    return _from_toml(MODELS / f"{name_or_path}.toml", ignored)


def from_config(path: Path, ignored: Collection[str] = ()) -> Architecture:
    """The model of a Hugging Face config.json; fields in `ignored` are taken as not there. Raises Mistake, "path:line: what"."""
    values, lines = read_json(path)
    name = path.resolve().parent.name if path.stem == "config" else path.stem
    try:
        return _architecture(name or path.stem, name or path.stem, str(path), values, ignored)
    except SheetError as wrong:
        raise Mistake(f"{path}:{lines.get(wrong.keys[0], 1) if wrong.keys else 1}: {wrong.why}") from None


def _from_toml(path: Path, ignored: Collection[str]) -> Architecture:
    def build(name: str, data: dict[str, Any]) -> Architecture:
        datasheet.check_keys(data, (), ("title", "source", "config"), ("source", "config"))
        title = datasheet.string(data.get("title", name), ("title",))
        source = datasheet.string(data["source"], ("source",))
        config = datasheet.table(data["config"], ("config",))
        try:
            return _architecture(name, title, source, config, ignored)
        except SheetError as wrong:
            raise SheetError(("config", *(key for key in wrong.keys if key in config)), wrong.why) from None

    return datasheet.read(path, "model", build)


def _architecture(name: str, title: str, source: str, values: dict[str, Any], ignored: Collection[str]) -> Architecture:
    """The architecture out of the fields of a config. Raises SheetError at the field that is wrong."""
    fields = fields_of(values, ignored)
    layers = fields.whole("num_hidden_layers", most=10_000)
    dense = _dense_layers(fields, layers)
    experts = fields.family.experts
    return Architecture(
        name=name,
        title=title,
        source=source,
        hidden=fields.whole("hidden_size"),
        layers=layers,
        vocab=fields.whole("vocab_size"),
        heads=fields.whole("num_attention_heads"),
        attention=_mla(fields) if fields.family.latent else _gqa(fields),
        intermediate=fields.whole("intermediate_size"),
        dense_layers=dense,
        moe=_moe(fields, experts) if experts and dense < layers else None,
        draft_layers=fields.whole_or("num_nextn_predict_layers", 0, least=0),
        tied=fields.flag("tie_word_embeddings"),
        fp8_block=fields.fp8_block(),
        max_positions=fields.whole("max_position_embeddings"),
    )


def _mla(fields: Fields) -> Mla:
    return Mla(
        q_lora_rank=fields.nullable("q_lora_rank"),
        kv_lora_rank=fields.whole("kv_lora_rank"),
        nope_dim=fields.whole("qk_nope_head_dim"),
        rope_dim=fields.whole("qk_rope_head_dim"),
        v_dim=fields.whole("v_head_dim"),
    )


def _gqa(fields: Fields) -> Gqa:
    fields.check_full_attention()
    heads = fields.whole("num_attention_heads")
    stated = fields.family.kv_heads_stated
    kv_heads = fields.whole("num_key_value_heads") if stated else fields.whole_or("num_key_value_heads", heads)
    fields.check_divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    return Gqa(kv_heads=kv_heads, head_dim=_head_dim(fields, heads), qk_norm=fields.family.qk_norm)


def _head_dim(fields: Fields, heads: int) -> int:
    if fields.values.get("head_dim") is not None:
        return fields.whole("head_dim")
    hidden = fields.whole("hidden_size")
    fields.check_divides("num_attention_heads", heads, "hidden_size", hidden)
    usual = fields.family.head_dim
    if usual not in (None, hidden // heads):
        why = f"transformers takes {usual} for a {fields.kind} model, hidden_size / num_attention_heads is {hidden // heads}"
        raise SheetError(("head_dim",), f"head_dim is missing; {why}: state it")
    return hidden // heads


def _dense_layers(fields: Fields, layers: int) -> int:
    """How many layers have a dense MLP, by the rules of the model's own code."""
    experts = fields.family.experts
    if experts is None or fields.nullable(experts) is None:
        return layers
    if fields.family.latent:
        first = fields.whole("first_k_dense_replace", least=0)
        fields.check_at_most("first_k_dense_replace", first, layers, "the layers of num_hidden_layers")
        every = fields.whole_or("moe_layer_freq", 1)
        return layers - sum(layer % every == 0 for layer in range(first, layers))
    every = fields.whole_or("decoder_sparse_step", 1)
    dense = fields.layer_numbers("mlp_only_layers", layers)
    return layers - sum((layer + 1) % every == 0 for layer in range(layers) if layer not in dense)


def _moe(fields: Fields, counted_by: str) -> Moe:
    experts, intermediate = fields.whole(counted_by), fields.whole("moe_intermediate_size")
    groups, kept, shared = 1, 1, 0
    if fields.family.latent:
        groups, kept = fields.nullable("n_group") or 1, fields.nullable("topk_group") or 1
        shared = fields.nullable("n_shared_experts", least=0) or 0
    else:
        fields.check_no_shared_expert()
    fields.check_divides("n_group", groups, counted_by, experts)
    fields.check_at_most("topk_group", kept, groups, "the groups of n_group")
    top_k = fields.whole("num_experts_per_tok")
    reached = f"the experts of {counted_by}" if kept == groups else f"the experts in {kept} of {groups} groups"
    fields.check_at_most("num_experts_per_tok", top_k, experts // groups * kept, reached)
    return Moe(
        experts=experts,
        top_k=top_k,
        intermediate=intermediate,
        shared=shared * intermediate,
        groups=groups,
        kept_groups=kept,
        scoring=fields.scoring(),
    )
