"""Finds the device, its sheet, its clock and its environment, and puts them together as the Rig of this process."""

from contextlib import ExitStack

import torch

from . import environment, peaks
from .anchors import measure as measure_anchors
from .clock.cpu import CpuClock
from .hardware import detect, named
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


def rig(options: Options) -> Rig:
    """The rig of this process. Raises Mistake where --dsbench-hw names another device than the one that is here."""
    # Neither choice is a provider's to make, and both change times and errors: they are the same for all of them.
    torch.backends.cuda.matmul.allow_tf32 = False
    return _gpu(options) if options.hw != "cpu" and torch.cuda.is_available() else _cpu(options)


def _cpu(options: Options) -> Rig:
    if options.clock != "auto":
        raise Mistake(f"--dsbench-clock={options.clock} is a way to time a GPU; the device here is the CPU, which has one clock")
    torch.set_num_threads(peaks.cores())
    peaks.keep_heap()
    return Rig(
        device="cpu",
        hardware=_cpu_sheet(options),
        environment=environment.read("cpu"),
        clock=CpuClock() if options.timed else None,
        cache=float(peaks.last_level_cache()),
        cold=options.cold,
        budget=options.budget or CPU_BUDGET,
        raise_roof=peaks.measure if options.hw in (None, "cpu") else None,
    )


def _cpu_sheet(options: Options) -> Hardware:
    """The measured sheet of the CPU, or the user's own sheet of one."""
    if options.hw is None or options.hw == "cpu":
        return peaks.sheet()
    sheet = named(options.hw)
    return sheet if sheet.kind == "cpu" else detect.resolve(options.hw, find_device())


def _gpu(options: Options) -> Rig:
    from .clock.cuda import CudaClock
    from .clock.probes import hot_cold_ratio, side_stream_note

    device = find_device()
    hardware = detect.resolve(options.hw, device)
    index = device.index or 0
    # One timing run at a time on a GPU; the lock is held until this process ends.
    resources = ExitStack()
    resources.enter_context(device_lock(device.uuid or f"gpu{index}", shared=not options.timed))
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
        clock=CudaClock(index, cache, mode=options.clock, cold=options.cold, nvml=nvml) if options.timed else None,
        cache=cache,
        budget=options.budget or (None, None),
        cold=options.cold,
        probe=lambda plan: side_stream_note(plan, index),
        notes=notes,
        resources=resources,
    )
