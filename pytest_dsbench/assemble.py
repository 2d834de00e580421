"""Finds the device, its sheet, its clock and its environment, and puts them together as the Rig of this process."""

from contextlib import ExitStack

import torch

from . import environment, peaks
from .anchors import measure as measure_anchors
from .clock import Clock, Collect, collect
from .clock.cpu import CpuClock
from .hardware import detect, named
from .hardware.device import capability
from .hardware.device import device as find_device
from .hardware.sheet import Hardware
from .lock import device_lock
from .mistake import Mistake
from .nvml import Nvml
from .options import Options
from .rig import Rig

#: On a CPU a case may need this much by default, in seconds of T_SOL and bytes; on a GPU there is no limit.
CPU_BUDGET = (0.1, 2.0**30)
#: A copy of half the cache takes at least this much less time hot than cold, where flushing works.
_FLUSHED = 0.9


def rig(options: Options, collect: Collect = collect, sheet: Hardware | None = None, lock: bool = True) -> Rig:
    """The rig of this process. Raises Mistake where --dsbench-hw names another device than the one that is here.

    `collect` draws the samples. `sheet` stands for that of a CPU, which is measured otherwise. Without `lock` the GPU is held by
    whoever started this process.
    """
    # Neither choice is a provider's to make, and both change times and errors: they are the same for all of them.
    torch.backends.cuda.matmul.allow_tf32 = False
    if options.hw != "cpu" and torch.cuda.is_available():
        return _gpu(options, collect, lock)
    return _cpu(options, collect, sheet)


def _cpu(options: Options, collect: Collect, sheet: Hardware | None) -> Rig:
    if options.clock != "auto":
        raise Mistake(f"--dsbench-clock={options.clock} is a way to time a GPU; the device here is the CPU, which has one clock")
    torch.set_num_threads(peaks.cores())
    peaks.keep_heap()
    return Rig(
        device="cpu",
        hardware=sheet or _cpu_sheet(options),
        environment=environment.read("cpu"),
        clock=CpuClock(collect=collect) if options.timed else None,
        cache=float(peaks.last_level_cache()),
        cold=options.cold,
        budget=options.budget or CPU_BUDGET,
        raise_roof=peaks.measure if options.hw in (None, "cpu") and sheet is None else None,
    )


def _cpu_sheet(options: Options) -> Hardware:
    """The measured sheet of the CPU, or the user's own sheet of one."""
    if options.hw is None or options.hw == "cpu":
        return peaks.sheet()
    sheet = named(options.hw)
    return sheet if sheet.kind == "cpu" else detect.resolve(options.hw, find_device())


def _gpu(options: Options, collect: Collect, lock: bool) -> Rig:
    from .clock.probes import hot_cold_ratio, side_stream_note

    device = find_device()
    hardware = detect.resolve(options.hw, device)
    index = device.index or 0
    # One timing run at a time on a GPU; the lock is held until this process ends.
    resources = ExitStack()
    if lock:
        resources.enter_context(device_lock(device.key, shared=not options.timed))
    nvml = Nvml.open(device.uuid or index)
    cache = float(device.l2 or hardware.l2 or 0)
    notes = [] if nvml else ["pynvml is not installed: clocks and throttling could not be watched"]
    if nvml:
        notes += [f"process {pid} ({name}) also computes on this GPU" for pid, name in nvml.processes()]
    if options.cold and (ratio := hot_cold_ratio(index, cache)) > _FLUSHED:
        notes.append(f"the cache flush does not work here: a hot copy takes {ratio:.2f} of a cold one's time")
    floor = measure_anchors("cuda", cache).launch_seconds
    return Rig(
        device="cuda",
        hardware=hardware.replace(launch_floor=floor),
        environment=environment.read("cuda"),
        clock=_cuda_clock(options, index, cache, nvml, collect) if options.timed else None,
        cache=cache,
        capability=capability(device),
        budget=options.budget or (None, None),
        cold=options.cold,
        probe=lambda plan: side_stream_note(plan, index),
        notes=notes,
        resources=resources,
    )


def _cuda_clock(options: Options, index: int, cache: float, nvml: Nvml | None, collect: Collect) -> Clock:
    from .clock.cuda import CudaClock

    return CudaClock(index, cache, mode=options.clock, cold=options.cold, nvml=nvml, collect=collect)
