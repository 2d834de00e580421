"""Dense products of a model."""

from typing import TYPE_CHECKING

from ...operators.dsv3_fused_a_gemm import Dsv3FusedAGemm
from ...provider import Launch
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@Dsv3FusedAGemm.provider("sglang", needs=NEEDS)
def _dsv3_fused_a_gemm(op: Dsv3FusedAGemm, mat_a: "Tensor", weight: "Tensor") -> Launch:
    """CUDA compiled at its first call. It takes the weight column by column, which is how ours lies, seen the other way round."""
    from sglang.kernels.ops.gemm.dsv3_fused_a_gemm import dsv3_fused_a_gemm

    columns, out = weight.T, mat_a.new_empty((op.tokens, op.columns))
    return lambda: dsv3_fused_a_gemm(mat_a, columns, out)
