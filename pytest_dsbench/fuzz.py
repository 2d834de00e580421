"""Fuzzing: a provider against the reference at shapes nobody wrote down; a failure is shrunk to a row of a shape file."""

import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from . import sweep
from .check import Wrong
from .dims import as_row, list_fields
from .formula import is_formula
from .measurement import Measurement, fuzzed
from .mistake import Mistake
from .operator import Operator
from .provider import Provider, Unsupported
from .rig import Rig
from .runner import check
from .units import DTYPES
from .work import Work

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: Sizes of a dimension that says nothing else: past the blocks of most kernels, and quick to check.
_ANY = (1, 160)
#: Sequences of a ragged batch.
_MOST_SEQUENCES = 6
#: A shape beyond this is not drawn: many small ones find more than a few large ones.
_MOST_BYTES, _MOST_FLOP = 2**26, 2 * 10**8
#: Seconds after the first failure in which a smaller one is looked for.
_SHRINKING = 60.0


class Failure(Wrong):
    """A provider is wrong at a drawn shape."""

    def __init__(self, op: Operator, why: str) -> None:
        super().__init__(why)
        self.op = op


def measure(rig: Rig, operator: type[Operator], provider: Provider, draws: tuple[int, int | None], where: str) -> Measurement:
    """Checks a provider at `draws` = (count, seed) shapes of an operator; without a seed at others each time."""
    count = draws[0]
    seed = random.randrange(2**32) if draws[1] is None else draws[1]
    case = fuzzed(operator.name, provider.name, f"fuzz {count},{seed}", where)
    found = Measurement(
        case=case, status="checked", packages=provider.packages(), hardware=rig.hardware.name, environment=rig.environment.key()
    )
    checked: set[Operator] = set()

    def attempt(op: Operator) -> None:
        try:
            check(rig, op, operator.name, provider)
            checked.add(op)
        except Unsupported:
            pass
        except Wrong as error:
            raise Failure(op, str(error)) from None

    failure = smallest_failure(operator, attempt, count, seed)
    rig.forget()
    if failure is None:
        return (
            found.replace(notes=(f"fuzz: {len(checked)} drawn shapes checked",))
            if checked
            else found.replace(status="skipped", reason=f"{provider.name} supports none of {count} drawn shapes")
        )
    reason = (
        f"{failure}; smallest failing shape of --dsbench-fuzz={count},{seed}, as a row of a shape file of {operator.name}:\n"
        f"  {as_row(failure.op)},"
    )
    return found.replace(case=case.replace(dims=msgspec.to_builtins(failure.op)), status="failed", reason=reason)


def smallest_failure(operator: type[Operator], attempt: Callable[[Operator], None], count: int, seed: int) -> Failure | None:
    """The smallest drawn shape at which `attempt` raises Failure; None where it does at none of `count`.

    Raises Mistake where hypothesis is not installed, or hardly any draw is a legal shape.
    """
    try:
        import hypothesis
        from hypothesis import errors
    except ModuleNotFoundError:
        raise Mistake("--dsbench-fuzz needs hypothesis; install pytest-dsbench[fuzz]") from None
    found: Failure | None = None
    until = 0.0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=tuple(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(shapes(operator))
    def draw(op: Operator) -> None:
        nonlocal found, until
        if found is not None and op != found.op and time.monotonic() > until:
            return  # enough: what is not tried counts as right, so that the smallest one so far is the last one tried
        try:
            attempt(op)
        except Failure as failure:
            until = until or time.monotonic() + _SHRINKING
            found = failure
            raise

    try:
        draw()
    except (Failure, errors.Flaky):
        return found  # flaky: it failed once, which is once too often
    except errors.Unsatisfiable:
        raise Mistake(f"{operator.name}: no legal shape could be drawn; its `fuzz` should say what is") from None
    return None


def shapes(operator: type[Operator]) -> "SearchStrategy[Any]":
    """Legal shapes of an operator that are small enough to be checked quickly."""
    from hypothesis import strategies

    fields = {field.name: field for field in msgspec.structs.fields(operator)}
    drawn = {name: _values(operator, name, given) for name, given in operator.fuzz.items() if not is_formula(given)}
    for name, field in fields.items():
        choices = _choices(field)
        if name not in operator.fuzz and choices is not None:
            drawn[name] = choices if choices is not _SIZES else _values(operator, name, _ANY)
    formulas = {name: given for name, given in operator.fuzz.items() if is_formula(given)}
    return strategies.fixed_dictionaries(drawn).map(lambda dims: _built(operator, dims | formulas)).filter(_small)


#: Stands for a dimension that may have any size.
_SIZES: Any = object()


def _choices(field: Any) -> Any:
    """Strategy of a dimension by its type: a size, one of some words, or None where it keeps its default."""
    from hypothesis import strategies

    words = get_args(field.type) if get_origin(field.type) is Literal else ()
    # A dimension of any dtype there is does not say which ones the operator takes.
    if words and words != DTYPES:
        return strategies.sampled_from(sorted(words, key=lambda word: word != field.default))  # shrinks to the default
    if field.type is bool:
        return strategies.booleans()
    return _SIZES if field.default is msgspec.NODEFAULT else None


def _values(operator: type[Operator], name: str, given: Any) -> Any:
    """Strategy for (low, high) or for a list of choices; for each item where the dimension is a list."""
    from hypothesis import strategies

    one = strategies.sampled_from(given) if isinstance(given, list) else _sizes(*given)
    if name in list_fields(operator) and not isinstance(given, list):
        return strategies.lists(one, min_size=1, max_size=_MOST_SEQUENCES)
    return one


def _sizes(low: int, high: int) -> Any:
    """Integers between two others; every other one is at or next to a power of two, where blocks end.

    One integer picks from all of them, the ordinary ones first: that is what makes a failure at an edge shrink past it.
    """
    from hypothesis import strategies

    edges = sorted({size + off for size in _powers(high) for off in (-1, 0, 1) if low <= size + off <= high} | {low})
    count = high - low + 1
    return strategies.integers(0, 2 * count - 1).map(lambda n: low + n if n < count else edges[(n - count) * len(edges) // count])


def _powers(high: int) -> Iterator[int]:
    size = 1
    while size <= high:
        yield size
        size *= 2


def _built(operator: type[Operator], dims: dict[str, Any]) -> Operator | None:
    try:
        return operator.build(sweep.evaluated(operator, dims))
    except Mistake:
        return None  # dimensions that contradict each other are no shape


def _small(op: Operator | None) -> bool:
    work = op.work() if op is not None else Work(read=_MOST_BYTES, written=1)
    return work.bytes <= _MOST_BYTES and work.flops <= _MOST_FLOP
