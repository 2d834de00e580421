"""What would be gained in tokens/s by faster kernels, as text, as markdown and as CSV."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...textfile import csv_of
from ...units import show_number, show_seconds, show_share
from .differences import laid_out, names, percent, signed

if TYPE_CHECKING:
    from ...serving.change.kernels import Rates
    from ...serving.change.todo import Gain, Todo

_HEAD = ("kernel", "shape", "T", "T_SOL", "share", "at T_SOL: tokens/s per GPU", "per user", "best provider", "T is")
_OTHERS = {
    "rdma": "messages between nodes at the line rate of the NIC, without latency",
    "nvlink": "messages between GPUs of a node at the rate of the link, without latency",
    "launches": "launches that take no time, of all kernels whose time is assumed",
}
_COLUMNS = (
    "kernel",
    "shape",
    "time_s",
    "t_sol_s",
    "hidden_share",
    "step_s",
    "tokens_per_s_per_gpu",
    "user_tokens_per_s",
    "best_provider",
    "best_s",
    "best_tokens_per_s_per_gpu",
    "best_user_tokens_per_s",
    "source",
    "why",
)


def todo_lines(found: "Todo", style: str = "text") -> Iterator[str]:
    """Every kernel that is worth something, the most first; then what is no kernel, and what is worth nothing."""
    now = found.now
    yield f"now {show_number(now.per_gpu)} tokens/s per GPU, {show_number(now.user)} per user, step {show_seconds(now.step)}"
    yield "to do: what each kernel alone is worth at the same batch, the most first"
    yield ""
    worth = [one for one in found.gains if one.most > 5e-4]
    yield from laid_out(_HEAD, [_row(one, now) for one in worth], style, 2)
    yield ""
    for other in found.others:
        share = percent(other.rates.per_gpu / now.per_gpu)
        yield f"no kernel: {_OTHERS[other.what]}: {signed(other.rates.per_gpu)} tokens/s per GPU ({share})"
    nothing = [one for one in found.gains if one not in worth]
    if nothing:
        yield f"worth nothing alone, hidden or at T_SOL already: {', '.join(names(one.kernel) for one in nothing)}"
    rests = f"{show_share(found.measured)} of the step rests on times that were measured, the rest on assumptions"
    yield rests if found.measured else "every time of the step is assumed"


def _row(one: "Gain", now: "Rates") -> list[str]:
    kernel, best = one.kernel, one.best
    hidden = f", {show_share(one.hidden)} hidden" if one.hidden else ""
    other = "-"
    if best is not None:
        other = f"{best.provider} {show_seconds(best.seconds)}, not {best.instead_of}: {signed(best.rates.per_gpu)}"
    return [
        names(kernel),
        kernel.shape,
        show_seconds(kernel.seconds),
        show_seconds(kernel.t_sol),
        show_share(kernel.t_sol / kernel.seconds),
        f"{signed(one.rates.per_gpu)} ({percent(one.rates.per_gpu / now.per_gpu)}){hidden}",
        signed(one.rates.user),
        other,
        f"{kernel.source}: {kernel.why}",
    ]


def todo_csv(found: "Todo") -> str:
    """Every kernel, what it is worth in tokens/s with all digits."""
    return csv_of(_COLUMNS, (_cells(one) for one in found.gains))


def _cells(one: "Gain") -> list[object]:
    kernel, best = one.kernel, one.best
    other: list[object] = ["", "", "", ""]
    if best is not None:
        other = [best.provider, best.seconds, best.rates.per_gpu, best.rates.user]
    gained = [one.hidden, one.rates.step, one.rates.per_gpu, one.rates.user]
    return [" ".join(kernel.names), kernel.shape, kernel.seconds, kernel.t_sol, *gained, *other, kernel.source, kernel.why]
