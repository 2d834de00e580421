"""mla_rope_quantize_fp8: queries and keys of latent attention rotated and quantised to fp8, laid out as attention reads them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import nbytes
from ..work import Work
from ._fp8 import encoding
from ._rope import distinct, rotated, table
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class MlaRopeQuantizeFp8(Operator):
    """q, k = fp8(scale * (nope | rotated rope)): columns 2i and 2i + 1 turn together, or i and i + rope_dim / 2 where neox.

    q_rope [tokens, heads, rope_dim], k_rope [tokens, rope_dim], q_nope [tokens, heads, kv_lora_rank], k_nope [tokens,
    kv_lora_rank]; cos_sin_cache fp32 [max_positions, rope_dim], in every row the cosines, then the sines; pos_ids int32
    [tokens]. q fp8 [tokens, heads, kv_lora_rank + rope_dim], k fp8 [tokens, kv_lora_rank + rope_dim], as the cache has them.
    """

    tokens: Dim
    heads: Dim
    kv_lora_rank: Dim = 512
    rope_dim: Dim = 64
    #: rows of the table
    max_positions: Dim = 4096
    neox: bool = False
    #: factors before rounding: what is stored is value * scale
    quant_scale_q: float = 1.0
    quant_scale_kv: float = 1.0
    dtype: Literal["bf16", "fp16"] = "bf16"

    category = "rope"
    fuzz = {
        "heads": (1, 16),
        "rope_dim": [64, 32],
        "kv_lora_rank": [512, 256],
        "quant_scale_q": [1.0, 0.25],
        "quant_scale_kv": [1.0, 3.0],
    }
    constants = ("cos_sin_cache",)

    #: fp32 roundings of an angle's products end beside a tie only now and then; a step left out changes most codes
    tolerance = {"q": Tolerance(codes_off=0.01), "k": Tolerance(codes_off=0.01)}

    @property
    def width(self) -> int:
        """Columns of a query and of a key."""
        return self.kv_lora_rank + self.rope_dim

    def contradiction(self) -> str | None:
        return f"rope_dim = {self.rope_dim} is odd; columns turn in pairs" if self.rope_dim % 2 else None

    def work(self) -> Work:
        """Read queries, keys, positions and the rows of the table that they name, which differ as long as there are enough,
        write the codes; two products and a sum per element that turns, a product for every scale: T(H + 1)(3r + W)."""
        vectors = self.tokens * (self.heads + 1)
        rows = min(self.tokens, self.max_positions)
        return Work(
            read=nbytes(self.dtype, vectors * self.width) + nbytes("int32", self.tokens) + nbytes("fp32", rows * self.rope_dim),
            written=nbytes("fp8_e4m3", vectors * self.width),
            flop={"fp32": vectors * (3 * self.rope_dim + self.width)},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "q_rope": new.normal((self.tokens, self.heads, self.rope_dim), self.dtype),
            "k_rope": new.normal((self.tokens, self.rope_dim), self.dtype),
            "q_nope": new.normal((self.tokens, self.heads, self.kv_lora_rank), self.dtype),
            "k_nope": new.normal((self.tokens, self.kv_lora_rank), self.dtype),
            "cos_sin_cache": table(new, self.max_positions, self.rope_dim),
            "pos_ids": distinct(new, self.tokens, self.max_positions, "int32"),
        }

    def outputs(self) -> dict[str, Spec]:
        return {
            "q": Spec(shape=(self.tokens, self.heads, self.width), dtype="fp8_e4m3"),
            "k": Spec(shape=(self.tokens, self.width), dtype="fp8_e4m3"),
        }

    def reference(
        self,
        q_rope: "Tensor",
        k_rope: "Tensor",
        q_nope: "Tensor",
        k_nope: "Tensor",
        cos_sin_cache: "Tensor",
        pos_ids: "Tensor",
    ) -> tuple["Tensor", "Tensor"]:
        """Beyond the largest code a value becomes it, as the hardware converts."""
        cos, sin = cos_sin_cache[pos_ids.long()].chunk(2, -1)
        q = by_rows(self._codes(self.quant_scale_q), q_nope, q_rope, cos, sin)
        k = by_rows(self._codes(self.quant_scale_kv), k_nope[:, None], k_rope[:, None], cos, sin)
        return q, k[:, 0]

    def _codes(self, scale: float) -> Callable[..., "Tensor"]:
        """What turns, scales and rounds some tokens."""
        import torch

        fp8 = encoding("fp8_e4m3")
        largest = torch.finfo(fp8).max

        def codes(nope: "Tensor", rope: "Tensor", cos: "Tensor", sin: "Tensor") -> "Tensor":
            joined = torch.cat([nope.double(), rotated(rope, cos, sin, self.neox)], -1).float()
            return (joined * scale).clamp(-largest, largest).to(fp8)

        return codes
