"""What a contract says, read from the files of this folder."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from packaging.version import Version

from ..record import Record

#: The kernels of DeepSeek-R1 in NVFP4, by the names of the libraries that had them first, in the order of the published list.
KERNELS = (
    "rmsnorm",
    "fused_add_rmsnorm",
    "cutlass_scaled_fp4_mm",
    "dsv3_fused_a_gemm",
    "dsv3_router_gemm",
    "bmm_fp8",
    "cutlass_mla_decode",
    "trtllm_batch_decode_with_kv_cache_mla",
    "trtllm_ragged_attention_deepseek",
    "mla_rope_quantize_fp8",
    "apply_rope_with_cos_sin_cache_inplace",
    "concat_mla_k",
    "silu_and_mul",
    "topk_softmax",
    "topk_sigmoid",
    "moe_fused_gate",
    "prepare_moe_input",
    "scaled_fp4_experts_quant",
    "cutlass_fp4_group_mm",
    "apply_shuffle_mul_sum",
    "moe_align_block_size",
    "trtllm_fp4_block_scale_moe",
    "fused_moe_kernel",
)


class Limit(Record):
    """A condition over the dimensions of an operator, and why the kernel needs it."""

    #: such as `1 <= tokens <= 16`; names are dimensions of the operator, or other integers that it knows
    holds: str
    why: str


class Contract(Record):
    """What one kernel of a library takes, as a provider calls it."""

    #: one of KERNELS, or another kernel that takes its place
    kernel: str
    #: the one of KERNELS whose place it takes, where it is not that one itself
    replaces: str | None = None
    operator: str
    provider: str
    #: what is imported, and the distributions that may hold it, of which one is installed
    module: str
    packages: tuple[str, ...] = ()
    #: which cases of the operator it is called for, where a provider has several kernels: a condition as in `limits`
    when: str | None = None
    #: first and last release that has it, where that is not all of them
    since: str | None = None
    until: str | None = None
    #: GPU architectures: "sm_100" is that one, "sm_90+" that one and all above
    arch: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    #: what else is known of it
    note: str | None = None

    @property
    def place(self) -> str:
        """The one of KERNELS that it is, or whose place it takes."""
        return self.replaces or self.kernel

    def released(self, version: str) -> bool:
        """Whether that release has it."""
        this = Version(version)
        after = self.since is None or this >= Version(self.since)
        # A post-release repairs the packaging: "0.4.0" as the last one means its post-releases, too.
        return after and (self.until is None or this.release <= Version(self.until).release)

    @property
    def releases(self) -> str:
        """The releases that have it, in words."""
        since = f" from {self.since} on" if self.since else ""
        until = f" up to {self.until}" if self.until else ""
        return f"releases{since}{until}" if since or until else "every release"


class _File(Record):
    """The contracts of one library, which is imported by the name of the file; so is its provider called, as a rule."""

    packages: tuple[str, ...]
    #: where they were read
    source: str
    kernel: list[dict[str, Any]]


@cache
def contracts() -> tuple[Contract, ...]:
    """All contracts, in the order of KERNELS; of one kernel, those of its own library come first."""
    found = [one for path in sorted(Path(__file__).parent.glob("*.toml")) for one in _read(path)]
    return tuple(sorted(found, key=lambda one: (KERNELS.index(one.place), one.replaces is not None)))


@cache
def of(operator: str, provider: str) -> tuple[Contract, ...]:
    """The contracts of the kernels that a provider calls for an operator."""
    return tuple(one for one in contracts() if (one.operator, one.provider) == (operator, provider))


def kernel_of(operator: str) -> str | None:
    """The one of KERNELS that does what an operator asks for; None where none does."""
    return next((one.place for one in contracts() if one.operator == operator), None)


def _read(path: Path) -> list[Contract]:
    given = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    library = {"module": path.stem, "packages": given.packages, "provider": path.stem}
    return [msgspec.convert({**library, **one}, Contract) for one in given.kernel]
