"""Device: what the machine says it has. A data sheet says what that is worth."""

import os
import platform
import re
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from ..record import Record
from ..units import Fp8Dtype, show_bytes

#: First words of the names that NVIDIA's drivers give; other vendors' stacks also answer to torch.cuda.
_NVIDIA_WORDS = ("nvidia", "tesla", "quadro", "geforce", "titan", "grid")


class Device(Record):
    """One device as its driver describes it; what the driver does not say is None."""

    kind: Literal["cuda", "cpu"]
    #: the driver's name, such as "NVIDIA H200"
    name: str
    #: "nvidia", "amd", "unknown"; of a CPU always "unknown", since nothing depends on it
    vendor: str = "unknown"
    #: memory that torch can use, bytes
    memory: int
    #: streaming multiprocessors; compute units on AMD, logical cores on a CPU
    sms: int
    #: compute capability, such as "9.0"
    capability: str | None = None
    uuid: str | None = None
    #: torch's number of the device
    index: int | None = None
    #: highest SM clock the driver allows, Hz
    boost: float | None = None
    #: memory clock, Hz, half the data rate
    memory_clock: float | None = None
    #: width of the memory bus, bits
    memory_bus: int | None = None
    #: last-level cache, bytes
    l2: int | None = None

    @property
    def key(self) -> str:
        """What a GPU is locked under."""
        return self.uuid or f"gpu{self.index or 0}"

    def __str__(self) -> str:
        return f"{self.name} ({self.sms} {'cores' if self.kind == 'cpu' else 'SMs'}, {show_bytes(self.memory)})"


def has_gpu(dev: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a GPU is likely to be there, without loading torch: good enough for collecting, too weak for measuring."""
    if environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    # NVIDIA on Linux, any vendor under WSL, AMD.
    return any(dev.glob("nvidia[0-9]*")) or (dev / "dxg").exists() or (dev / "kfd").exists()


def visible_gpus(dev: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """NVIDIA's GPUs that this process may use, as CUDA_VISIBLE_DEVICES would name them; without loading torch, as above."""
    if not has_gpu(dev, environ):
        return ()
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(str(number) for number in range(len(list(dev.glob("nvidia[0-9]*")))))
    words = [word.strip() for word in named.split(",")]
    # CUDA reads the list up to the first word that names no device.
    return tuple(takewhile(lambda word: word and word != "-1", words))


def capability(device: Device) -> tuple[int, int] | None:
    """The compute capability of an NVIDIA GPU as numbers; None for others, whose stacks mean something else by theirs."""
    if device.vendor != "nvidia" or device.capability is None:
        return None
    major, _, minor = device.capability.partition(".")
    return int(major), int(minor)


def fp8_encoding(nodes: Path = Path("/sys/class/kfd/kfd/topology/nodes")) -> Fp8Dtype:
    """How the GPU here encodes fp8 e4m3, without loading torch: CDNA3 (gfx940 to gfx942) in AMD's way, all others as the OCP."""
    for properties in nodes.glob("*/properties"):
        version = re.search(r"^gfx_target_version (\d+)", properties.read_text(), re.MULTILINE)
        if version and int(version[1]) // 100 == 904:
            return "fp8_e4m3fnuz"
    return "fp8_e4m3"


def device() -> Device:
    """The device that cases run on: torch's current GPU, or the CPU where torch has none."""
    if has_gpu() and find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            return gpu()
    return cpu()


def cpu() -> Device:
    """The CPU of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device(kind="cpu", name=_cpu_name(), memory=memory, sms=os.cpu_count() or 1)


def gpu(index: int | None = None) -> Device:
    """GPU `index` as torch numbers them, or the current one. Needs a torch that sees it."""
    import torch

    if index is None:
        index = torch.cuda.current_device()
    return from_properties(torch.cuda.get_device_properties(index), index, hip=torch.version.hip is not None)


def from_properties(properties: Any, index: int, *, hip: bool) -> Device:
    """The Device that torch's `properties` describe; clocks, bus, cache and uuid are not there in every version of torch."""
    uuid = str(properties.uuid).removeprefix("GPU-") if hasattr(properties, "uuid") else None
    facts: dict[str, Any] = {
        "boost": _hertz(properties, "clock_rate"),
        "memory_clock": _hertz(properties, "memory_clock_rate"),
        "memory_bus": getattr(properties, "memory_bus_width", None) or None,
    }
    vendor = "amd" if hip else "nvidia" if properties.name.lower().startswith(_NVIDIA_WORDS) else "unknown"
    if vendor == "nvidia" and uuid is not None and None in facts.values():
        facts = {key: value or _nvml_facts(uuid).get(key) for key, value in facts.items()}
    return Device(
        kind="cuda",
        name=properties.name,
        vendor=vendor,
        memory=properties.total_memory,
        sms=properties.multi_processor_count,
        capability=f"{properties.major}.{properties.minor}",
        uuid=uuid,
        index=index,
        l2=getattr(properties, "L2_cache_size", None) or None,
        **facts,
    )


def _hertz(properties: Any, attribute: str) -> float | None:
    # torch passes on CUDA's kHz; CUDA answers 0 where it does not know.
    return getattr(properties, attribute, 0) * 1e3 or None


def _nvml_facts(uuid: str) -> dict[str, Any]:
    """What pynvml knows of the GPU. By UUID, since NVML's numbers ignore CUDA_VISIBLE_DEVICES."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return {}
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        return {
            "boost": nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6,
            "memory_clock": nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM) * 1e6,
            "memory_bus": nvml.nvmlDeviceGetMemoryBusWidth(handle),
        }
    except nvml.NVMLError:
        return {}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
