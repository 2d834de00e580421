"""The command about fleets that serve a model: serve."""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..mistake import Mistake, unknown
from ..report.serving.study import study_lines
from ..trace.write import save

if TYPE_CHECKING:
    from ..serving.study import Grid

T = TypeVar("T")

#: Above this no number of GPUs, nor of tokens, means anything.
_MOST = 1_000_000
#: Options that one variant has alone; every variant has all others.
_OWN: dict[str, frozenset[str]] = {"published": frozenset({"moe_discount"})}


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("serve", help="tokens per second of a fleet that serves a model with its experts spread over it")
    parser.add_argument("--model", default="deepseek_v3", metavar="NAME", help="the model (default: deepseek_v3)")
    parser.add_argument(
        "--variant", default="published", metavar="NAME", help="published: the formulas of the published study, as written"
    )
    parser.add_argument(
        "--target-tps", type=float, default=20.0, metavar="N", help="tokens/s that each user gets at least (default: 20)"
    )
    parser.add_argument("--gpu", metavar="NAMES", help="these GPUs alone, such as h800,l40s (default: all)")
    parser.add_argument("--nic", metavar="NAMES", help="these network cards alone, such as cx7 (default: all)")
    parser.add_argument("--ep", metavar="N,N", help="numbers of GPUs that share the experts (default: 144,320)")
    parser.add_argument("--policy", metavar="NAMES", help="naive, or dual for two micro-batches (default: both)")
    parser.add_argument("--mtp", metavar="N,N", help="tokens that MTP proposes in a step (default: 0,1)")
    parser.add_argument("--moe-discount", action="store_true", help="published: measured rates of the GEMMs of the experts")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write what was found as CSV")
    parser.set_defaults(command=_serve)


def _serve(given: argparse.Namespace) -> Iterator[str]:
    if given.variant not in _VARIANTS:
        raise Mistake(f"--variant: {unknown('variant', given.variant, _VARIANTS)}")
    _check_own(given)
    if not (math.isfinite(given.target_tps) and given.target_tps > 0):
        raise Mistake(f"--target-tps {given.target_tps:g}: expected tokens per second above zero, such as 20")
    return _VARIANTS[given.variant](given)


def _check_own(given: argparse.Namespace) -> None:
    """Raises Mistake for an option of another variant."""
    own = _OWN[given.variant]
    for other, options in _OWN.items():
        for option in sorted(options - own):
            value = getattr(given, option, None)
            if value is not None and value is not False and value != []:
                raise Mistake(
                    f"--{option.replace('_', '-')}: the {given.variant} variant has no such option;"
                    f" leave it out, or give --variant {other}"
                )


def _chosen(option: str, what: str, text: str | None, known: Mapping[str, T]) -> tuple[T, ...]:
    """Of what is known that which a list of names asks for, in any case of letters; all of it where there is no list."""
    by_name = {name.lower(): value for name, value in known.items()}
    asked = by_name if text is None else [word.strip().lower() for word in text.split(",")]
    for word in asked:
        if word not in by_name:
            raise Mistake(f"{option}: {unknown(what, word, by_name)}")
    return tuple(value for name, value in by_name.items() if name in asked)


def _numbers(option: str, text: str | None, default: tuple[int, ...], least: int) -> tuple[int, ...]:
    """The whole numbers of a list, the smallest first."""
    if text is None:
        return default
    words = [word.strip() for word in text.split(",")]
    whole = all(word.isascii() and word.isdecimal() and len(word) <= len(str(_MOST)) for word in words)
    found = sorted(set(map(int, words))) if whole else []
    if not found or found[0] < least or found[-1] > _MOST:
        known = ",".join(map(str, default))
        raise Mistake(f"{option} {text!r}: expected whole numbers from {least} to {_MOST}, such as {known}")
    return tuple(found)


# -- the published variant ----------------------------------------------------------------------------------------------------


def _published(given: argparse.Namespace) -> Iterator[str]:
    """What the study's search finds, by its formulas."""
    if given.model.lower() != "deepseek_v3":
        raise Mistake(
            f"--model {given.model}: the published variant knows the shape of deepseek_v3 alone (that of DeepSeek-R1 is the same)"
        )
    from ..serving import study

    constants = study.load()
    grid = _study_grid(given, constants.grid)
    rows = study.search(given.target_tps, grid, given.moe_discount)
    # Before the text, whose reader, such as `head`, may have seen enough of it.
    if given.csv is not None:
        save(given.csv, study.as_csv(rows))
    yield from study_lines(rows, given.target_tps, given.moe_discount, grid, constants)
    if given.csv is not None:
        yield f"written: {given.csv}"


def _study_grid(given: argparse.Namespace, known: "Grid") -> "Grid":
    """What of the study's grid was asked for; EP and MTP may be others than the study's."""
    return known.replace(
        gpus=_chosen("--gpu", "GPU of the study", given.gpu, {one.name: one for one in known.gpus}),
        nics=_chosen("--nic", "NIC of the study", given.nic, {one.name: one for one in known.nics}),
        policies=_chosen("--policy", "policy", given.policy, {one: one for one in known.policies}),
        ep=_numbers("--ep", given.ep, known.ep, 1),
        mtp=_numbers("--mtp", given.mtp, known.mtp, 0),
    )


_VARIANTS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {"published": _published}
