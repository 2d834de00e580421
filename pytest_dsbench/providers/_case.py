"""What a library does not do, said in one sentence: the case is then skipped with it."""

from typing import TYPE_CHECKING

from ..provider import Unsupported

if TYPE_CHECKING:
    from torch import Tensor

#: Dtypes that kernels for inference are written for.
_HALF = ("bf16", "fp16")


def only(possible: bool, sentence: str) -> None:
    """Raises Unsupported with `sentence` where a library does not do a case."""
    if not possible:
        raise Unsupported(sentence)


def half(what: str, dtype: str) -> None:
    """Raises Unsupported where a dtype has other than 16 bits."""
    only(dtype in _HALF, f"{what} takes bf16 and fp16, not {dtype}")


def chunked(library: str, chunk: int, key_dim: int) -> None:
    """Raises Unsupported where the chunked kernels of the delta rule, the same in fla and in what was made of it, do not fit."""
    only(chunk in (16, 32, 64, 128), f"{library}'s chunked kernels take chunks of 16, 32, 64 or 128 tokens, not {chunk}")
    only(key_dim <= 256, f"{library}'s chunked kernels take keys of at most 256 columns, not {key_dim}")


def capability(x: "Tensor") -> tuple[int, int]:
    """The compute capability of the GPU that holds `x`."""
    import torch

    return torch.cuda.get_device_capability(x.device)
