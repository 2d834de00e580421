"""The configurations that options of the command line describe, one or many, each value checked: serve, impact."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import hardware
from ..hardware import Hardware
from ..mistake import Mistake, unknown
from .serving_options import model

if TYPE_CHECKING:
    from ..serving.configuration import Configuration
    from ..serving.grid import Grid
    from ..serving.model.architecture import Architecture
    from ..serving.precision import Precision
    from ..serving.price.assumed import Assumed
    from ..serving.schedule import Policy


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)

#: Data sheets that a search looks at where none are named.
GPUS = "h800,h20,a100,l20,l40s,h100_sxm,h200,gb200"
#: Where a search is given none; `impact` has one of each.
_MANY = {"gpu": GPUS, "policy": "naive,dual", "batch": {True: "8:512:8", False: "1:32"}}
_ONE = {"policy": "dual", "batch": {True: "64", False: "4"}}
#: Configurations at most, and batches among them: more take minutes and the memory of a machine.
_MOST = 10_000_000
_MOST_BATCHES = 4096


def grid(given: argparse.Namespace, assumed: "Assumed", many: bool = True, gpu: Hardware | None = None) -> "Grid":
    """The axes that were asked for, each value checked by itself; `gpu` where --gpu says nothing. Raises Mistake."""
    from ..serving import grid as grids
    from ..serving.price import nic as nics
    from ..serving.search import axes

    shape, decode = model(given), _decode(given)
    words: dict[str, Any] = _MANY if many else _ONE
    eps = axes.eps(shape, given.redundant) if given.ep is None else _numbers(given, "ep", "", 1)
    given_gpus = given.gpu or words.get("gpu")
    made = grids.Grid(
        model=shape,
        gpus=(gpu,) if gpu is not None and given.gpu is None else _sheets("gpu", given_gpus, _gpu),
        nics=_sheets("nic", given.nic or "cx7", nics.named) if shape.moe is not None or given.nic else (None,),
        splits=tuple(axes.split(shape, ep, given.redundant, assumed) for ep in eps),
        tps=_numbers(given, "tp", "1", 1),
        precisions=_precisions(given, shape),
        policies=_policies(given, words["policy"]),
        mtps=_numbers(given, "mtp", "0", 0),
        batches=_numbers(given, "batch", words["batch"][decode], 1),
        context=4096 if given.context is None else given.context,
        decode=decode,
    )
    _check(made)
    return made


def configuration(given: argparse.Namespace, assumed: "Assumed", gpu: Hardware | None = None) -> "Configuration":
    """The one configuration that was asked for, checked but for its memory. Raises Mistake where an axis has several values.

    Where no EP is given it is the fewest GPUs that hold the model; where experts need no network, the schedule is naive.
    """
    from ..serving.configuration import at
    from ..serving.estimate import estimate
    from ..serving.search import axes

    made = grid(given, assumed, many=False, gpu=gpu)
    for option, values in made.axes.items():
        if len(values) > 1 and not (option == "ep" and given.ep is None):
            raise Mistake(f"--{option}: {given.name} takes one configuration; expected one value, not {len(values)}")
    choices = [_scheduled(given, at(made, number)) for number in range(made.size)]
    possible = [one for one in choices if one.split is None or one.split.ep % one.tp == 0] or choices
    for found in possible:
        axes.check(found)
        if estimate(found, assumed).fits:
            break
    return found


def _scheduled(given: argparse.Namespace, found: "Configuration") -> "Configuration":
    """Without a network there is nothing to hide behind a second micro-batch."""
    alone = found.split is None or found.split.ep == 1
    return found.replace(policy="naive") if given.policy is None and alone else found


def taken(given: argparse.Namespace, found: "Configuration") -> dict[str, int]:
    """What of one configuration was not asked for, by option."""
    ep = {"ep": found.split.ep} if found.split is not None else {}
    values = {**ep, "batch": found.batch, "context": found.context}
    return {option: value for option, value in values.items() if getattr(given, option) is None}


def notes(given: argparse.Namespace, made: "Grid") -> list[str]:
    """What was taken for a word that is not quite the name of a sheet."""
    words = {word.strip().lower() for word in (given.gpu or "").split(",")}
    found = ((word, gpu.name) for gpu in made.gpus for word in words if gpu.name.startswith(f"{word}_") and gpu.name not in words)
    return [f"--gpu {word}: the data sheet {name}" for word, name in found]


def _decode(given: argparse.Namespace) -> bool:
    phase = given.phase or "decode"
    if phase not in ("decode", "prefill"):
        raise Mistake(f"--phase: {unknown('phase', phase, ('decode', 'prefill'))}")
    return bool(phase == "decode")


def _numbers(given: argparse.Namespace, option: str, default: str, least: int) -> tuple[int, ...]:
    """The whole numbers of an option, the smallest first."""
    from ..serving.search import axes

    text = default if getattr(given, option) is None else getattr(given, option)
    return tuple(sorted(axes.whole(text, f"--{option}", least)))


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",")))


def _sheets(option: str, text: str | None, named: Callable[[str], N]) -> tuple[N, ...]:
    """The data sheets of a list of names and paths, each once. Raises Mistake where two that differ have one name."""
    if text is None:
        raise Mistake(f"--{option}: expected the name or the path of a data sheet, such as h800")
    found: dict[str, N] = {}
    for word in _words(text):
        sheet = named(word if word.endswith(".toml") else word.lower())
        if found.setdefault(sheet.name, sheet) != sheet:
            raise Mistake(f"--{option}: two data sheets that differ are called {sheet.name}; rename one of the files")
    return tuple(found.values())


def _gpu(word: str) -> Hardware:
    """The sheet of that name, or the only one whose name goes on after it, as h100_sxm does; `notes` says so."""
    if not word.endswith(".toml"):
        known = hardware.sheets()
        longer = [name for name in known if name.startswith(f"{word}_")]
        if word not in known and len(longer) == 1:
            return known[longer[0]]
    return hardware.named(word)


def _precisions(given: argparse.Namespace, shape: "Architecture") -> "tuple[Precision, ...]":
    from ..serving.precision import named

    weights = _words(given.precision or ("fp8" if shape.fp8_block else "bf16"))
    return tuple(dict.fromkeys(named(one, cache) for one in weights for cache in _words(given.cache or "bf16")))


def _policies(given: argparse.Namespace, default: str) -> "tuple[Policy, ...]":
    from ..serving.schedule import POLICIES

    asked = _words((given.policy or default).lower())
    for word in asked:
        if word not in POLICIES:
            raise Mistake(f"--policy: {unknown('policy', word, POLICIES)}")
    return tuple(one for one in POLICIES if one in asked)


def _check(made: "Grid") -> None:
    """Raises Mistake for what no configuration of the grid could be, and for a grid that would take minutes."""
    from ..serving.search import axes

    for tp in made.tps:
        axes.check_tp(made.model, tp)
    for mtp in made.mtps:
        axes.check_mtp(made.model, mtp, made.decode)
    axes.check_context(made.model, made.context)
    if len(made.batches) > _MOST_BATCHES or made.size > _MOST:
        most = f"at most {_MOST:,} and {_MOST_BATCHES:,} batches"
        raise Mistake(f"{made.size:,} configurations with {len(made.batches):,} batches are too many; {most} are tried at once")
