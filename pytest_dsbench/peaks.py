"""The roofline of this CPU, measured: a stream-like copy, a read and a fill for bandwidth, a matmul per dtype for the peaks.

A CPU's peaks are never read off a data sheet. What is measured can only be too low, so the best of several tries counts, and
a case that beats the roof makes it be measured again.
"""

import ctypes
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import msgspec
import torch

from .hardware.device import cpu
from .hardware.sheet import Hardware
from .units import Unit

_now = time.perf_counter

#: Which measured units can do another one's products exactly, by converting the operands first. A CPU without an fp8 unit
#: multiplies fp8 values at its bf16 rate, and no faster way exists on it.
_HOLDS: dict[Unit, tuple[Unit, ...]] = {
    "fp64": ("fp64",),
    "fp32": ("fp32", "fp64"),
    "fp16": ("fp16", "fp32"),
    "bf16": ("bf16", "fp32"),
    "fp8": ("fp8", "bf16", "fp16", "fp32"),
    "fp4": ("fp8", "bf16", "fp16", "fp32"),
    "int8": ("int8",),
}


def last_level_cache() -> int:
    """Bytes of the largest cache of core 0; 32 MiB where the system does not say."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    scale = {"K": 2**10, "M": 2**20, "G": 2**30}
    return max((int(size[:-1]) * scale[size[-1]] for size in sizes if size[-1:] in scale), default=32 * 2**20)


def keep_heap() -> None:
    """Makes the C library keep freed memory instead of returning it to the system, where that library is glibc.

    Otherwise every call that allocates a large output pays for its pages again, and the page faults are what gets timed. Serving
    stacks run with caching allocators; this is the same.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
#: A glance this much above a kept roof makes it be measured again.
_HIGHER = 1.03


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sheet() -> Hardware:
    """The measured sheet of this CPU: from the cache of this machine, or measured now (a few seconds) and cached.

    A roof measured while the machine was busy is too low for ever after, so a glance at the machine as it is now comes first.
    """
    known = cached()
    if known is None:
        return measure()
    bandwidth, rate = _glance()
    low = bandwidth > _HIGHER * known.bandwidth or rate > _HIGHER * known.peak.get("fp32", 0.0)
    return measure(at_least=known) if low else known


def cached() -> Hardware | None:
    """The sheet that was measured before, or None; one that cannot be read, of another version or cut short is measured again."""
    try:
        return msgspec.json.decode(cache_path().read_bytes(), type=Hardware)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError):
        return None


def cache_path() -> Path:
    """Where this machine's peaks are kept: a file per CPU, core count, thread count and torch version."""
    key = f"1 {cpu().name} {cores()} {torch.get_num_threads()} {torch.__version__}"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "pytest-dsbench" / f"cpu-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"


def measure(at_least: Hardware | None = None) -> Hardware:
    """Measures the peaks now, keeps the better of these and `at_least`, and caches them."""
    rates = {unit: _matmul_rate(unit) for unit, others in _HOLDS.items() if unit in others}
    peak = {unit: max(rates[other] for other in others) for unit, others in _HOLDS.items()}
    bandwidth, floor = _bandwidth(), _empty_call()
    if at_least is not None:
        floor = min(floor, at_least.launch_floor or floor)
        peak = {unit: max(rate, at_least.peak.get(unit, 0.0)) for unit, rate in peak.items()}
        bandwidth = max(bandwidth, at_least.bandwidth)
    made = Hardware(
        name="cpu",
        title=cpu().name,
        kind="cpu",
        vendor="cpu",
        peak={unit: rate for unit, rate in peak.items() if rate},
        bandwidth=bandwidth,
        memory=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        l2=float(last_level_cache()),
        sms=cores(),
        launch_floor=floor,
        source=f"measured here on {date.today().isoformat()} with torch {torch.__version__}, {torch.get_num_threads()} threads",
    )
    _save(made)
    return made


def _save(made: Hardware) -> None:
    path = cache_path()
    fresh = path.with_suffix(f".{os.getpid()}")
    # Where the home folder cannot be written to, every run measures for itself.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(msgspec.json.encode(made))
        fresh.replace(path)


def _best(call: Callable[[], object], seconds: float) -> float:
    """The shortest of the calls made within about `seconds`, at least three."""
    best, start, calls = float("inf"), _now(), 0
    while calls < 3 or _now() - start < seconds:
        before = _now()
        call()
        best = min(best, _now() - before)
        calls += 1
    return best


def _glance() -> tuple[float, float]:
    """Bandwidth and fp32 rate as half a second shows them."""
    return _bandwidth(0.05), 2 * 1024**3 / _best(_operands("fp32", 1024), 0.05)


def _bandwidth(seconds: float = 0.3) -> float:
    """Bytes per second of the fastest of copy, read, fill and add over arrays eight times the last-level cache."""
    count = 8 * last_level_cache() // 4
    source, target = torch.ones(count), torch.ones(count)
    return source.nbytes * max(
        2 / _best(lambda: target.copy_(source), seconds),
        1 / _best(source.sum, seconds),
        1 / _best(target.zero_, seconds),
        3 / _best(lambda: torch.add(source, target, out=target), seconds),
    )


def _empty_call() -> float:
    """Seconds of the smallest torch call: what a launch costs where there is nothing to do."""
    one = torch.zeros(1)
    return _best(lambda: one.add_(1), 0.02)


def _operands(unit: Unit, size: int) -> Callable[[], object]:
    values = torch.randn(size, size)
    if unit == "int8":
        whole = (values * 16).clamp(-127, 127).to(torch.int8)
        return lambda: torch._int_mm(whole, whole)
    if unit == "fp8":
        small, one = values.to(torch.float8_e4m3fn), torch.ones(())
        return lambda: torch._scaled_mm(small, small.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    wide = values.to({"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[unit])
    return lambda: wide @ wide


def _matmul_rate(unit: Unit) -> float:
    """FLOP per second of the best square matmul; 0 where torch has none for this dtype. Sizes grow only while they stay short,
    since some dtypes have no fast path at all."""
    best = 0.0
    for size in (192, 512, 1024, 2048):
        try:
            took = _best(_operands(unit, size), 0.1)
        except (RuntimeError, AttributeError):
            return best
        best = max(best, 2 * size**3 / took)
        if took > 0.03:
            break
    return best
