"""The constants of the study, read from study.toml."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...record import Record
from ...tables import converted, parsed
from ...units import quantity

#: How the parts of attention overlap on a GPU: not at all; the softmax with the second product; the softmax with both.
Pipeline = Literal["none", "two-stage", "three-stage"]
#: How a step is scheduled: one batch after the other's network, or two half batches, each hiding the network of the other.
Policy = Literal["naive", "dual"]

#: Keys that hold a quantity, and its unit.
_QUANTITIES = {"memory": "B/s", "bf16": "FLOP/s", "fp8": "FLOP/s", "clock": "Hz", "reduction": "s"}


class Gpu(Record):
    """A GPU as the study sees it."""

    name: str
    #: Memory bandwidth, B/s.
    memory: float
    #: Peaks, FLOP/s; on a GPU without fp8, that of int8.
    bf16: float
    fp8: float
    sms: int
    #: exp2, or reductions, per clock of one SM.
    exp2_per_clock: int
    #: Hz.
    clock: float
    pipeline: Pipeline

    @property
    def exp2(self) -> float:
        """exp2 per second, which is also the rate of reductions."""
        return self.sms * self.exp2_per_clock * self.clock


class Nic(Record):
    """A network card as the study sees it."""

    name: str
    #: What reaches one GPU, B/s.
    bandwidth: float


class Model(Record):
    """The shape of DeepSeek-V3; with one width that is the study's own."""

    layers: int
    hidden: int
    q_lora_rank: int
    #: Between the two projections of the query; the model itself has no such width.
    q_inner: int
    kv_lora_rank: int
    heads: int
    qk_nope: int
    qk_rope: int
    v: int
    experts: int
    experts_per_token: int
    expert_width: int


class Attention(Record):
    """How attention walks through the context."""

    #: Tokens.
    chunk: int
    #: Seconds per chunk.
    reduction: float


class Discount(Record):
    """Measured rates of the expert GEMMs against the peak `rated`, from `rows` rows on."""

    rated: float
    rows: tuple[int, ...]
    up: tuple[float, ...]
    down: tuple[float, ...]


class Elements(Record, order=True):
    """Bytes of an element of the KV cache, and of all other weights than those of experts."""

    kv: int
    non_expert: int


class Batches(Record):
    """Sequences per GPU, from the largest down."""

    largest: int
    smallest: int
    step: int


class Refused(Record):
    """What the study's memory formula lets no GPU of this name hold."""

    gpu: str
    non_expert: int


class Held(Record):
    """The largest batch that the study is known to have let through."""

    gpu: str
    ep: int
    non_expert: int
    batch: int


class Grid(Record):
    """What a search goes through; of equal rates the earlier is kept."""

    gpus: tuple[Gpu, ...]
    nics: tuple[Nic, ...]
    policies: tuple[Policy, ...]
    ep: tuple[int, ...]
    elements: tuple[Elements, ...]
    mtp: tuple[int, ...]
    batch: Batches

    @property
    def batches(self) -> tuple[int, ...]:
        """Sequences per GPU, the largest first."""
        return tuple(range(self.batch.largest, self.batch.smallest - 1, -self.batch.step))


class Study(Record):
    """All constants of the study."""

    #: Tokens of every sequence.
    context: int
    #: Probability that a proposed token is accepted, given that the one before it was.
    acceptance: float
    model: Model
    attention: Attention
    discount: Discount
    grid: Grid
    refused: tuple[Refused, ...]
    held: tuple[Held, ...]


@cache
def load() -> Study:
    """The study as published."""
    raw = parsed(Path(__file__).with_name("study.toml").read_text(encoding="utf-8"))
    gpus = [{"name": name, **_numbers(table)} for name, table in raw.pop("gpu").items()]
    nics = [{"name": name, "bandwidth": quantity(text, "B/s")} for name, text in raw.pop("nic").items()]
    grid = {"gpus": gpus, "nics": nics, **raw.pop("search")}
    return converted({**raw, "attention": _numbers(raw["attention"]), "grid": grid}, Study, "key of the study")


def _numbers(table: dict[str, Any]) -> dict[str, Any]:
    return {key: quantity(value, _QUANTITIES[key]) if key in _QUANTITIES else value for key, value in table.items()}
