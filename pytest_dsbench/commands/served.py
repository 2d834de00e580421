"""What a night's changes cost what is served: the configurations of --dsbench-serving and of `dsbench compare --serving`."""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from ..gate.judgement import Judgement
from ..hardware import Hardware
from ..measurement import Measurement
from ..mistake import Mistake, unknown
from ..runs import Header
from .serving_grid import configuration, taken
from .serving_options import add_configuration_options, assumed

if TYPE_CHECKING:
    from ..serving.change.impact import Impact
    from ..serving.configuration import Configuration
    from ..serving.price.assumed import Assumed

_EXAMPLE = "deepseek_v3,gpu=h800,ep=144,batch=88,context=4989"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises Mistake."""
        raise Mistake(message)


def served(text: str, option: str, gpu: Hardware | None = None) -> "tuple[str, Configuration, Assumed]":
    """The configuration of MODEL[,key=value...], the keys being the options of `dsbench impact`; on `gpu` where none is named.

    With it its text, in which nothing is left to guess. Raises Mistake, which begins with `option`.
    """
    from ..serving.estimate import estimate
    from ..serving.search import axes

    try:
        given = _given(text)
        values = assumed(given)
        found = configuration(given, values, gpu)
        refusal = axes.refusal(estimate(found, values), values)
    except Mistake as error:
        raise Mistake(f"{option}={text}: {error}") from None
    if refusal is not None:
        raise Mistake(f"{option}={text}: {refusal}")
    return ",".join([text, *(f"{key}={value}" for key, value in taken(given, found).items())]), found, values


def _given(text: str) -> argparse.Namespace:
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_configuration_options(parser)
    known = re.findall(r"--([a-z-]+)", parser.format_usage())
    model, *pairs = (word.strip() for word in text.split(","))
    if not model or "=" in model:
        raise Mistake(f"expected a model and what else is known of how it is served, such as {_EXAMPLE}")
    words = ["--model", model]
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise Mistake(f"{pair!r} is not key=value; expected such as {_EXAMPLE}")
        if key not in known or key in ("model", "config"):
            raise Mistake(unknown("key", key, set(known) - {"model", "config"}))
        words.append(f"--{key}={value}")
    given = parser.parse_args(words)
    given.name = "what is served"
    return given


def impacts(
    texts: Sequence[str], option: str, judged: Judgement, header: Header, measurements: Iterable[Measurement]
) -> "Iterator[tuple[str, Impact]]":
    """What the confirmed changes of a night cost each configuration: of what regressed or improved, nothing else counts."""
    from ..serving.change.changes import Changes
    from ..serving.change.impact import impact
    from ..serving.change.timed import of_verdicts, warm

    here = header.hardware
    changes = Changes(of_verdicts(judged.verdicts, warm=warm(measurements), confirmed=True))
    for text in texts:
        whole, found, values = served(text, option, here if here.kind == "gpu" else None)
        yield whole, impact(found, values, changes, own=here.name == found.gpu.name)
