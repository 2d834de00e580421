"""What texts about changes and gains share: differences of rates, names of kernels, tables in two styles."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...units import show_delta, show_number
from ..table import markdown, table

if TYPE_CHECKING:
    from ...serving.change.impact import Cost
    from ...serving.change.kernels import Kernel


def laid_out(head: Sequence[str], rows: Iterable[Sequence[str]], style: str, left: int) -> list[str]:
    """A table as text, or as markdown."""
    return (markdown if style == "markdown" else table)(head, rows, left=left, last_left=True)


def names(kernel: "Kernel") -> str:
    """What the layers call a kernel."""
    all_ = kernel.names
    return ", ".join(all_) if len(all_) <= 2 else f"{all_[0]} and {len(all_) - 1} more"


def signed(value: float) -> str:
    """A difference; what rounds to nothing is nothing."""
    if abs(value) < 5e-4:
        return "0"
    return f"{'+' if value > 0 else '-'}{show_number(abs(value)) if abs(value) >= 0.1 else f'{abs(value):.3f}'}"


def delta(value: float) -> str:
    """A change of ln T; what rounds to nothing has no sign of its own."""
    return show_delta(0.0 if abs(value) < 5e-4 else value)


def percent(share: float) -> str:
    """A difference as a share of what was."""
    return f"{100 * share:+.1f} %" if abs(share) >= 5e-4 else f"{100 * share:+.2g} %" if abs(share) > 1e-9 else "0 %"


def cost(one: "Cost") -> str:
    """With the ends of the interval instead of digits that nobody knows."""
    if one.low is None or one.high is None or one.low == one.high:
        return signed(one.rates.per_gpu)
    low, high = sorted((one.low, one.high))
    return f"{signed(one.rates.per_gpu)} ({signed(low)} ... {signed(high)})"
