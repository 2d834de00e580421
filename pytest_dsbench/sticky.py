"""Errors that outlast their case: after one of these the process cannot use its GPU any more, whatever runs next."""

#: What CUDA says of them, with its driver's names; after all others, such as a lack of memory, the next call may succeed.
_LASTING = (
    "illegal memory access",
    "illegal instruction",
    "illegal address",
    "misaligned address",
    "unspecified launch failure",
    "device-side assert",
    "hardware stack error",
    "invalid program counter",
    "invalid pc",
    "operation not supported on global/shared address space",
    "the launch timed out and was terminated",
    "context is destroyed",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "cuda_error_launch_failed",
    "cuda_error_launch_timeout",
    "cuda_error_assert",
    "cuda_error_illegal",
    "cuda_error_misaligned",
    "cuda_error_hardware_stack",
    "cuda_error_invalid_pc",
    "cuda_error_context_is_destroyed",
)


def lasting(error: BaseException) -> str | None:
    """The line of an error that says so; None for any other error."""
    text = str(error)
    # The word is part of what torch, Triton and the drivers' names say.
    if "cuda" not in text.lower():
        return None
    lines = [line.strip() for line in text.splitlines() if any(words in line.lower() for words in _LASTING)]
    return lines[0] if lines else None
