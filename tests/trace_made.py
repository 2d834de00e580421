"""Traces made by hand in the format of Kineto: events as torch.profiler writes them for a GPU."""

import json
from pathlib import Path
from typing import Any

Event = dict[str, Any]

H800 = {
    "id": 0,
    "name": "NVIDIA H800",
    "totalGlobalMem": 85_000_000_000,
    "computeMajor": 9,
    "computeMinor": 0,
    "numSms": 132,
}
BF16 = "c10::BFloat16"


def annotation(name: str, ts: float, dur: float) -> Event:
    return {"ph": "X", "cat": "user_annotation", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur, "args": {"Ev Idx": 0}}


def operation(name: str, ts: float, dur: float, external: int, *inputs: tuple[Any, str, str], shapes: bool = True) -> Event:
    """Inputs are (dims, type, value)."""
    args: dict[str, Any] = {"External id": external, "Record function id": 0, "Ev Idx": external}
    if shapes:
        args |= {
            "Concrete Inputs": [value for _, _, value in inputs],
            "Input type": [kind for _, kind, _ in inputs],
            "Input Dims": [dims for dims, _, _ in inputs],
        }
    return {"ph": "X", "cat": "cpu_op", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur, "args": args}


def tensor(*sizes: int, kind: str = BF16) -> tuple[Any, str, str]:
    return list(sizes), kind, ""


def scalar(value: str) -> tuple[Any, str, str]:
    return [], "Scalar", value


NONE: tuple[Any, str, str] = ([], "", "")


def launch(name: str, ts: float, correlation: int, external: int = 0) -> Event:
    args = {"External id": external, "cbid": 211, "correlation": correlation}
    return {"ph": "X", "cat": "cuda_runtime", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": 3, "args": args}


def kernel(
    name: str, ts: float, dur: float, correlation: int, external: int = 0, stream: int = 7, cat: str = "kernel", grid: int = 77777
) -> Event:
    """Its grid and block say nothing of the shapes."""
    args = {
        "External id": external,
        "queued": 0,
        "device": 0,
        "context": 1,
        "stream": stream,
        "correlation": correlation,
        "registers per thread": 128,
        "shared memory": 0,
        "grid": [grid, 1, 1],
        "block": [128, 1, 1],
    }
    return {"ph": "X", "cat": cat, "name": name, "pid": 0, "tid": stream, "ts": ts, "dur": dur, "args": args}


def write(path: Path, events: list[Event], rank: int | None = None, **head: Any) -> Path:
    """A trace file."""
    info = {} if rank is None else {"distributedInfo": {"backend": "nccl", "rank": rank, "world_size": 2}}
    whole = {"schemaVersion": 1, "deviceProperties": [H800], **info, **head, "traceEvents": events, "traceName": path.name}
    path.write_text(json.dumps(whole, indent=2))
    return path


def step(number: int, gemm: float = 40.0) -> list[Event]:
    """One step at 10,000 us times its number, 255 us of device time: 30 of them beside others on a second stream.

    gemm 40 (or as given), attention 60, activation 30, addition 10, two kernels of a graph 50 each, one that no operation
    launched 8, one without a launch 2, a copy 5. Each kernel's correlation is 100 times the step and its own number.
    """
    t, c = 10_000.0 * number, 100 * number
    return [
        annotation(f"ProfilerStep#{number}", t, 1000),
        annotation("attention", t + 10, 250),
        operation("aten::linear", t + 20, 50, c + 1, tensor(2, 8, 1024), tensor(3072, 1024), NONE),
        operation("aten::mm", t + 25, 30, c + 2, tensor(16, 1024), tensor(1024, 3072)),
        launch("cudaLaunchKernel", t + 30, c + 51, c + 2),
        kernel("gemm_a", t + 100, gemm, c + 51, c + 2),
        operation("sgl_kernel::fwd", t + 100, 20, c + 3, tensor(16, 8, 128), tensor(99, 8, 128)),
        launch("cudaLaunchKernelExC", t + 105, c + 52, c + 3),
        kernel("flash_fwd", t + 140, 60, c + 52, c + 3),
        annotation("mlp", t + 300, 300),
        operation("sgl_kernel::silu_and_mul", t + 310, 20, c + 4, tensor(16, 2048), tensor(16, 4096)),
        launch("cudaLaunchKernel", t + 315, c + 53, c + 4),
        kernel("act", t + 160, 30, c + 53, c + 4, stream=20),
        operation("aten::add", t + 340, 20, c + 5, tensor(16, 1024), tensor(16, 1024), scalar("1")),
        launch("cuLaunchKernel", t + 345, c + 54),
        kernel("vectorized", t + 400, 10, c + 54),
        launch("cudaGraphLaunch", t + 700, c + 55),
        kernel("graph_k1", t + 710, 50, c + 55),
        kernel("graph_k2", t + 760, 50, c + 55),
        # As Kineto wrote it before October 2024: its own correlation for the operation that it has not.
        launch("cudaLaunchKernel", t + 800, c + 3, c + 3),
        kernel("pybind_k", t + 830, 8, c + 3, c + 3),
        kernel("lost_k", t + 840, 2, c + 57),
        operation("aten::copy_", t + 850, 10, c + 6, tensor(4), tensor(4), scalar("False")),
        launch("cudaMemcpyAsync", t + 852, c + 58, c + 6),
        kernel("Memcpy HtoD (Pageable -> Device)", t + 860, 5, c + 58, c + 6, cat="gpu_memcpy"),
        {"ph": "f", "cat": "ac2g", "name": "ac2g", "id": c + 51, "pid": 0, "tid": 7, "ts": t + 100, "bp": "e"},
        {**annotation(f"ProfilerStep#{number}", t + 100, 800), "cat": "gpu_user_annotation", "pid": 0, "tid": 7},
    ]
