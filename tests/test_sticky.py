"""Which errors outlast their case."""

import pytest

from pytest_dsbench.sticky import lasting


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: an illegal instruction was encountered",
        "CUDA error: misaligned address",
        "CUDA error: unspecified launch failure",
        "CUDA error: device-side assert triggered",
        "CUDA error: hardware stack error",
        "CUDA error: invalid program counter",
        "CUDA error: the launch timed out and was terminated",
        "CUDA error: context is destroyed",
        "Triton Error [CUDA]: an illegal memory access was encountered",
        "cuLaunchKernel failed: CUDA_ERROR_ILLEGAL_ADDRESS",
        "cuLaunchKernel failed: CUDA_ERROR_LAUNCH_FAILED",
    ],
)
def test_of_a_device_that_is_lost(text: str) -> None:
    assert lasting(RuntimeError(text)) == text.splitlines()[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: invalid argument",
        "CUDA error: no kernel image is available for execution on the device",
        "CUDA error: invalid configuration argument",
        "the kernel met an illegal memory access",
    ],
)
def test_of_a_case_alone(text: str) -> None:
    assert lasting(RuntimeError(text)) is None


def test_the_line_that_says_it() -> None:
    error = RuntimeError("launch of k failed\n  CUDA error: misaligned address\nsee the log")
    assert lasting(error) == "CUDA error: misaligned address"
