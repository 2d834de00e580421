"""The fields of a Hugging Face config, each value checked as it is read."""

import json
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, Literal, cast

from ...datasheet import SheetError
from ...mistake import unknown
from ...record import Record
from .families import FAMILIES, NEUTRAL, NEUTRAL_LATENT, SHAPES, Family

#: No dimension of a model comes near it; what is larger is a slip, and would overflow what is computed from it.
_MOST = 10**9


class Fields(Record):
    """The fields of one config that are there, to be taken one by one; every reader raises SheetError at its field."""

    #: model_type
    kind: str
    values: dict[str, Any]
    #: names that are there and passed over
    passed: tuple[str, ...]

    @property
    def family(self) -> Family:
        return FAMILIES[self.kind]

    def whole(self, name: str, least: int = 1, most: int = _MOST) -> int:
        """A whole number that has to be there."""
        if name not in self.values:
            raise SheetError((name,), _missing(name, self.passed, f"the config.json of a {self.kind} model"))
        value = self.values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise SheetError((name,), f"{name} is {_shown(value)}; expected a whole number from {least:,} to {most:,}")
        return value

    def nullable(self, name: str, least: int = 1) -> int | None:
        """A whole number, or null; the field has to be there."""
        return None if self.values.get(name, 0) is None else self.whole(name, least)

    def whole_or(self, name: str, default: int, least: int = 1) -> int:
        """A whole number, or `default` where the field is absent or null."""
        return default if self.values.get(name) is None else self.whole(name, least)

    def flag(self, name: str) -> bool:
        """true or false; false where the field is absent or null, as in the configuration classes of these families."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise SheetError((name,), f"{name} is {_shown(value)}; expected true or false")
        return value is True

    def layer_numbers(self, name: str, layers: int) -> set[int]:
        """The numbers of some layers, counted from zero; none where the field is absent or null."""
        value = [] if self.values.get(name) is None else self.values[name]
        if not isinstance(value, list) or not all(type(one) is int and 0 <= one < layers for one in value):
            raise SheetError((name,), f"{name} is {_shown(value)}; expected a list of layers from 0 to {layers - 1}")
        return set(value)

    def scoring(self) -> Literal["sigmoid", "softmax"]:
        """How the router scores the experts."""
        value = self.values.get("scoring_func")
        if value is None:
            return self.family.scoring
        if value not in ("sigmoid", "softmax"):
            raise SheetError(("scoring_func",), f"scoring_func is {_shown(value)}; expected 'sigmoid' or 'softmax'")
        return cast(Literal["sigmoid", "softmax"], value)

    def fp8_block(self) -> bool:
        """Whether the weights are published in block-scaled fp8; any other quantisation is refused, for it is not modelled."""
        at, value = ("quantization_config",), self.values.get("quantization_config")
        if value is None:
            return False
        method = value.get("quant_method") if isinstance(value, dict) else None
        if not isinstance(method, str):
            raise SheetError(at, f"quantization_config is {_shown(value)}; expected an object with a quant_method")
        block = value.get("weight_block_size")
        if method != "fp8" or block is None:
            found = _shown(method) if method != "fp8" else "'fp8' without weight_block_size"
            raise SheetError(at, _not_modelled("quantization_config", f"quant_method {found}", "fp8 with weight_block_size"))
        if not isinstance(block, list) or len(block) != 2 or not all(type(one) is int and one > 0 for one in block):
            raise SheetError(at, f"weight_block_size is {_shown(block)}; expected two whole numbers, such as [128, 128]")
        return True

    def check_full_attention(self) -> None:
        """Raises SheetError where some layers see only a window of the context."""
        window, on = self.whole_or("sliding_window", 0, least=0), self.flag("use_sliding_window")
        if window and on:
            found = f"a window of {window:,} tokens"
            raise SheetError(("sliding_window",), _not_modelled("sliding_window", found, "attention over the whole context"))
        kinds = self.values.get("layer_types")
        if kinds is not None and (not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds)):
            wrong = next((kind for kind in kinds if kind != "full_attention"), kinds) if isinstance(kinds, list) else kinds
            raise SheetError(("layer_types",), _not_modelled("layer_types", _shown(wrong), "'full_attention' in every layer"))

    def check_no_shared_expert(self) -> None:
        """Raises SheetError where a model that has no shared expert in transformers states a width of one."""
        name = "shared_expert_intermediate_size"
        width = self.whole_or(name, 0, least=0)
        if width:
            raise SheetError((name,), _not_modelled(name, f"{width:,}", f"0 in a {self.kind} model"))

    def check_at_most(self, name: str, value: int, limit: int, of: str) -> None:
        """Raises SheetError where `value` is above `limit`, which is `of` something."""
        if value > limit:
            raise SheetError((name,), f"{name} is {value:,}; expected no more than {limit:,}, {of}")

    def check_divides(self, name: str, part: int, of: str, whole: int) -> None:
        """Raises SheetError unless `whole` is a multiple of `part`."""
        if whole % part:
            raise SheetError((name if name in self.values else of,), f"{of} {whole:,} is no multiple of {name} {part:,}")


def fields_of(values: dict[str, Any], ignored: Collection[str]) -> Fields:
    """The fields without those in `ignored`. Raises SheetError for an unknown model_type, and for an unknown field."""
    there = {name: value for name, value in values.items() if name not in ignored}
    if isinstance(there.get("text_config"), dict):
        why = "take the object of text_config, its language model, as a file of its own"
        raise SheetError(("text_config",), f"the config of a multimodal model; {why}")
    if "model_type" not in there:
        raise SheetError(("model_type",), _missing("model_type", list(values), "a config.json of Hugging Face"))
    kind = there["model_type"]
    if not isinstance(kind, str) or kind not in FAMILIES:
        why = unknown("model_type", kind, FAMILIES) if isinstance(kind, str) else f"model_type is {_shown(kind)}; expected a name"
        raise SheetError(("model_type",), why)
    family = FAMILIES[kind]
    shapes = (*SHAPES, *family.shapes)
    neutral = NEUTRAL | NEUTRAL_LATENT if family.latent else NEUTRAL
    for name in there:
        if name not in shapes and name not in neutral:
            raise SheetError((name,), _unknown(name, kind, [one for one in shapes if one not in there], [*shapes, *neutral]))
    return Fields(kind=kind, values=there, passed=tuple(name for name in values if name not in there))


def _unknown(name: str, kind: str, absent: Collection[str], known: Collection[str]) -> str:
    close = get_close_matches(name, absent, n=1, cutoff=0.7) or get_close_matches(name, known, n=1, cutoff=0.7)
    hint = f"did you mean {close[0]!r}? " if close else ""
    passes = f"if it decides no shape, --ignore-field {name if name.isidentifier() else repr(name)} passes over it"
    return f"unknown model field {name!r} of a {kind} model; {hint}{passes}"


def _missing(name: str, there: Collection[str], where: str) -> str:
    if name in there:
        return f"{name} is needed; --ignore-field cannot pass over it"
    close = get_close_matches(name, there, n=1, cutoff=0.8)
    return f"{name} is missing; " + (f"did you mean it by {close[0]!r}?" if close else f"{where} has it")


def _not_modelled(name: str, found: str, modelled: str) -> str:
    return f"{name} has {found}, which is not modelled; expected {modelled}, or --ignore-field {name} to compute without it"


def _shown(value: object) -> str:
    """The value as JSON writes it, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
