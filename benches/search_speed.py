"""What a search of `dsbench serve` takes, each grid against its goal: run by `make speed`. One thread; seconds of the CPU."""

import os
import time
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pytest_dsbench import hardware
from pytest_dsbench.operators import everything
from pytest_dsbench.serving import precision
from pytest_dsbench.serving.grid import Grid
from pytest_dsbench.serving.model import architecture
from pytest_dsbench.serving.price import nic
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.serving.search import axes
from pytest_dsbench.serving.search.search import Floor, search
from pytest_dsbench.serving.study import search as search_study

ROUNDS = 3
EVERY = ("h800", "h20", "a100", "l20", "l40s", "h100_sxm", "h200", "gb200")


def grid(gpus: tuple[str, ...], nics: tuple[str, ...], eps: tuple[int, ...], batches: range, **more: tuple[object, ...]) -> Grid:
    """A grid of DeepSeek-V3 in decode."""
    model = architecture.named("deepseek_v3")
    others = {"tps": (1,), "precisions": (precision.named("fp8"),), "policies": ("naive", "dual"), "mtps": (0, 1), **more}
    return Grid(
        model=model,
        gpus=tuple(map(hardware.named, gpus)),
        nics=tuple(map(nic.named, nics)),
        splits=tuple(axes.split(model, ep, None, defaults()) for ep in eps),
        batches=tuple(batches),
        context=5120,
        **others,
    )


def spent(work: object) -> float:
    """The median CPU time of some calls, seconds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()  # type: ignore[operator]
        found.append(time.process_time() - began)
    return median(found)


def main() -> None:
    """Prints what each grid takes."""
    everything()
    eps = (32, 64, 72, 96, 128, 144, 256, 320)
    weights = tuple(precision.named(name, cache) for name in ("bf16", "fp8") for cache in ("bf16", "fp8"))
    sizes = tuple(precision.named(*pair) for pair in (("fp8_experts", "bf16"), ("fp8_experts", "fp8"), ("fp8", "fp8")))
    wide = grid(EVERY, ("cx7", "cx8", "e810", "cx6"), eps, range(8, 336, 8), tps=(1, 2, 4, 8), precisions=weights, mtps=(0, 1, 2))
    deep = grid(EVERY, ("cx7",), eps, range(1, 1025), tps=(1, 2), precisions=weights[:2])
    study = grid(EVERY[:5], ("cx7", "e810"), (144, 320), range(16, 129, 8), precisions=sizes)
    floor = Floor(of="tps", value=20.0)
    for name, one, goal in (("a wide grid", wide, 2.0), ("a grid of many batches", deep, 2.0), ("the study's grid", study, 0.05)):
        took = spent(lambda one=one: search(one, defaults(), None, floor))
        print(f"{name}, {one.size:,} configurations: {took:.3f} s (goal {goal:g} s)")
    print(f"the study's grid by its own formulas: {spent(lambda: search_study(20.0)):.4f} s (goal 0.05 s)")


if __name__ == "__main__":
    main()
