"""The command about fleets that serve a model: serve."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..mistake import Mistake, unknown
from ..report.serving.study import study_lines
from ..trace.write import save
from . import serving_options, serving_search

if TYPE_CHECKING:
    from ..serving.study import Grid

T = TypeVar("T")

#: Options that one variant has alone; every variant has all others.
_OWN: dict[str, frozenset[str]] = {"corrected": serving_search.OWN, "published": frozenset({"moe_discount"})}


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("serve", help="tokens per second of a fleet that serves a model with its experts spread over it")
    serving_options.add_configuration_options(parser, many=True)
    parser.add_argument(
        "--variant",
        default="corrected",
        metavar="NAME",
        help="corrected; or published: the formulas of the published study, over its grid",
    )
    parser.add_argument("--target-tps", type=float, metavar="N", help="tokens/s that each user gets at least (default: 20)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write what was found as CSV")
    serving_search.add(parser)
    parser.add_argument("--moe-discount", action="store_true", help="published: measured rates of the GEMMs of the experts")
    parser.set_defaults(command=_serve)


def _serve(given: argparse.Namespace) -> Iterator[str]:
    if given.variant not in _VARIANTS:
        raise Mistake(f"--variant: {unknown('variant', given.variant, _VARIANTS)}")
    _check_own(given)
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
    from ..serving.search import axes

    return default if text is None else tuple(sorted(axes.whole(text, option, least)))


# -- the published variant ----------------------------------------------------------------------------------------------------


def _published(given: argparse.Namespace) -> Iterator[str]:
    """What the study's search finds, by its formulas."""
    if (given.model or "deepseek_v3").lower() != "deepseek_v3":
        raise Mistake(
            f"--model {given.model}: the published variant knows the shape of deepseek_v3 alone (that of DeepSeek-R1 is the same)"
        )
    from ..serving import study

    target = 20.0 if given.target_tps is None else serving_search.tokens(given.target_tps)
    constants = study.load()
    grid = _study_grid(given, constants.grid)
    rows = study.search(target, grid, given.moe_discount)
    # Before the text, whose reader, such as `head`, may have seen enough of it.
    if given.csv is not None:
        save(given.csv, study.as_csv(rows))
    yield from study_lines(rows, target, given.moe_discount, grid, constants)
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


_VARIANTS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "corrected": serving_search.corrected,
    "published": _published,
}
