"""Options of the command line that describe how a model is served, one configuration or many: serve, impact."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import hardware, runs
from ..hardware import Hardware
from ..mistake import Mistake, unknown

if TYPE_CHECKING:
    from ..serving.estimate import Configuration
    from ..serving.grid import Grid
    from ..serving.model.architecture import Architecture
    from ..serving.precision import Precision
    from ..serving.price.assumed import Assumed
    from ..serving.price.efficiencies import Efficiencies
    from ..serving.schedule import Policy


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)

#: Data sheets that a search looks at where none are named.
GPUS = "h800,h20,a100,l20,l40s,h100_sxm,h200,gb200"
#: Where a search is given none; `impact` has one of each.
_MANY = {"gpu": GPUS, "policy": "naive,dual", "batch": {True: "8:512:8", False: "1:32"}}
#: Configurations at most, and batches among them: more take minutes and the memory of a machine.
_MOST = 10_000_000
_MOST_BATCHES = 4096


def add_configuration_options(parser: argparse.ArgumentParser, many: bool = False) -> None:
    """Adds the options; with `many` every axis takes a list."""
    word, words, numbers = ("NAME", "NAMES", "LIST") if many else ("NAME", "NAME", "N")
    axes: tuple[tuple[str, str, str], ...] = (
        ("gpu", words, f"data sheets by name or path{' (default: eight of them)' if many else ''}"),
        ("nic", words, "the NIC of each GPU, by name or path of its sheet (default: cx7)"),
        ("ep", numbers, f"GPUs that share the experts{' (default: 8 and all larger that divide them)' if many else ''}"),
        ("tp", numbers, "GPUs that share the heads of a sequence (default: 1)"),
        (
            "precision",
            words,
            "of the weights: bf16, fp8, fp8_experts, fp4, fp4_experts (default: as published, bf16 or fp8)",
        ),
        ("cache", words, "of the cache: bf16, fp8 (default: bf16)"),
        ("policy", words, f"naive, or dual for two micro-batches (default: {'both' if many else 'dual'})"),
        ("mtp", numbers, "tokens that are guessed ahead in a step (default: 0)"),
        (
            "batch",
            numbers,
            f"sequences for each GPU{' (default: 8:512:8, 8 to 512 by 8; in prefill 1:32)' if many else ''}",
        ),
    )
    parser.add_argument("--model", metavar=word, help="the model: deepseek_v3 and others by name, or a .toml or .json file")
    parser.add_argument("--config", type=Path, metavar="PATH", help="instead: the config.json of a model of Hugging Face")
    parser.add_argument("--ignore-field", action="append", metavar="NAME", help="leave out a field of the config (repeatable)")
    for name, metavar, said in axes:
        parser.add_argument(f"--{name}", metavar=metavar, help=said)
    parser.add_argument("--context", type=int, metavar="N", help="tokens that a sequence has on average (default: 4096)")
    parser.add_argument("--phase", metavar="NAME", help="decode or prefill (default: decode)")
    parser.add_argument(
        "--redundant", type=int, metavar="N", help="experts that stand twice (default: what divides of none, 1/8, 1/4)"
    )
    parser.add_argument("--assume", action="append", metavar="NAME=VALUE", help="change an assumption (repeatable)")


def assumed(given: argparse.Namespace) -> "Assumed":
    """What is assumed, with the changes that were asked for."""
    from ..serving.price.assumed import defaults

    return defaults().changed_by(given.assume or ())


def efficiencies(paths: Iterable[Path], gpus: Iterable[Hardware]) -> tuple["Efficiencies", list[str]]:
    """What runs say of some GPUs, and a sentence for what of them is not used.

    Raises Mistake for a run of a kind of device that says nothing about any of them.
    """
    from ..serving.price.efficiencies import Efficiencies

    found = [runs.read(path) for path in paths]
    known = Efficiencies(found)
    said = [complaint for run in found for complaint in run.complaints] + known.left_out
    kinds = {gpu.kind for gpu in gpus}
    for run in found:
        if run.header is not None and run.header.hardware.kind not in kinds:
            device = run.header.hardware
            raise Mistake(f"--run {run.path}: of {device.name}, a {device.kind.upper()}, whose times say nothing about a GPU")
    return known, said


def model(given: argparse.Namespace) -> "Architecture":
    """The model that was asked for. Raises Mistake."""
    from ..serving.model import architecture

    ignored = tuple(given.ignore_field or ())
    if given.model is not None and given.config is not None:
        raise Mistake("--config: --model names a model already; leave one of them out")
    if given.config is not None:
        return architecture.from_config(given.config, ignored)
    if given.model is None:
        raise Mistake(
            f"{given.name}: expected --model and one of {', '.join(architecture.names())}, or --config and a config.json"
        )
    return architecture.named(given.model, ignored)


def grid(given: argparse.Namespace, assumed: "Assumed", many: bool = True, gpu: Hardware | None = None) -> "Grid":
    """The axes that were asked for, each value checked by itself; `gpu` where --gpu says nothing. Raises Mistake."""
    from ..serving import grid as grids
    from ..serving.price import nic as nics
    from ..serving.search import axes

    shape, decode = model(given), _decode(given)
    words: dict[str, Any] = _MANY if many else {"policy": "dual"}
    eps = _numbers(given, "ep", None, 1) or (axes.eps(shape, given.redundant) if many else _only(shape))
    given_gpus = given.gpu or words.get("gpu")
    batch = words["batch"][decode] if many else None
    made = grids.Grid(
        model=shape,
        gpus=(gpu,) if gpu is not None and given.gpu is None else _sheets("gpu", given_gpus, _gpu),
        nics=_sheets("nic", given.nic or "cx7", nics.named) if shape.moe is not None or given.nic else (None,),
        splits=tuple(axes.split(shape, ep, given.redundant, assumed) for ep in eps),
        tps=_numbers(given, "tp", "1", 1),
        precisions=_precisions(given, shape),
        policies=_policies(given, words["policy"]),
        mtps=_numbers(given, "mtp", "0", 0),
        batches=_numbers(given, "batch", batch, 1),
        context=4096 if given.context is None else given.context,
        decode=decode,
    )
    _check(made)
    return made


def configuration(given: argparse.Namespace, assumed: "Assumed", gpu: Hardware | None = None) -> "Configuration":
    """The one configuration that was asked for, checked but for its memory. Raises Mistake where an axis has several values."""
    from ..serving.estimate import at
    from ..serving.search import axes

    made = grid(given, assumed, many=False, gpu=gpu)
    for option, values in made.axes.items():
        if len(values) > 1:
            raise Mistake(f"--{option}: {given.name} takes one configuration; expected one value, not {len(values)}")
    found = at(made, 0)
    axes.check(found)
    return found


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


def _only(shape: "Architecture") -> tuple[int, ...]:
    """The number of GPUs that share the experts, where it need not be said."""
    if shape.moe is not None:
        raise Mistake(f"--ep: expected how many GPUs share the {shape.moe.experts} experts of {shape.name}, such as 64")
    return (1,)


def _numbers(given: argparse.Namespace, option: str, default: str | None, least: int) -> tuple[int, ...]:
    """The whole numbers of an option, the smallest first; none where it has neither words nor a default."""
    from ..serving.search import axes

    text = default if getattr(given, option) is None else getattr(given, option)
    if text is None and option == "batch":
        raise Mistake("--batch: expected how many sequences each GPU serves, such as 64")
    return tuple(sorted(axes.whole(text, f"--{option}", least))) if text is not None else ()


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
