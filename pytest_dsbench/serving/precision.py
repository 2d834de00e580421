"""Precision: in how many bits a model's weights and cache are kept, and what unit multiplies them."""

from typing import Literal

from ..mistake import Mistake, unknown
from ..record import Record

Weight = Literal["bf16", "fp8", "fp4"]
Cache = Literal["bf16", "fp8"]

#: Bytes of one weight with its scales: fp8 has an fp32 scale per 128 x 128 block, NVFP4 an e4m3 scale per 16 values.
WEIGHT_BYTES: dict[Weight, float] = {"bf16": 2.0, "fp8": 1 + 4 / 128**2, "fp4": 0.5 + 1 / 16}
#: Bytes of one value of the cache.
CACHE_BYTES: dict[Cache, int] = {"bf16": 2, "fp8": 1}


class Precision(Record):
    """How the weights of the experts, those of all other projections, and the cache are kept."""

    dense: Weight
    experts: Weight
    cache: Cache = "bf16"

    @property
    def dispatch_bytes(self) -> float:
        """Bytes of one value that is sent to an expert: fp8 with an fp32 scale per 128 values wherever experts are quantised."""
        return 2.0 if self.experts == "bf16" else 1 + 4 / 128

    @property
    def weights(self) -> str:
        """What the command line calls the precision of the weights."""
        name = next((name for name, known in WEIGHTS.items() if known == (self.dense, self.experts)), None)
        return name or f"{self.dense}+{self.experts}"

    def __str__(self) -> str:
        return f"{self.weights}/{self.cache}"


#: Precisions by the names of the command line: of all other projections, then of the experts.
WEIGHTS: dict[str, tuple[Weight, Weight]] = {
    "bf16": ("bf16", "bf16"),
    "fp8": ("fp8", "fp8"),
    "fp8_experts": ("bf16", "fp8"),
    "fp4": ("fp4", "fp4"),
    "fp4_experts": ("fp8", "fp4"),
}


def named(weights: str, cache: str = "bf16") -> Precision:
    """The precision of these names. Raises Mistake for a name that is none."""
    if weights not in WEIGHTS:
        raise Mistake(f"--precision: {unknown('precision', weights, WEIGHTS)}")
    if cache not in CACHE_BYTES:
        raise Mistake(f"--cache: {unknown('precision of the cache', cache, CACHE_BYTES)}")
    dense, experts = WEIGHTS[weights]
    return Precision(dense=dense, experts=experts, cache="fp8" if cache == "fp8" else "bf16")
