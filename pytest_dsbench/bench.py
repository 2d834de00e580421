"""bench(Operator): every case of its shape files x every provider present, as one pytest function."""

import sys
from collections.abc import Callable
from typing import Any

from .operator import Operator


def bench(operator: type[Operator]) -> Callable[..., Any]:
    """A bench of one operator: assign it to a name that begins with `bench_` in a file `bench_*.py`.

    pytest shows it at the line where `bench` was called.
    """

    def run(dsbench: Any) -> None:
        dsbench.measure()

    caller = sys._getframe(1)
    run.__code__ = run.__code__.replace(co_filename=caller.f_code.co_filename, co_firstlineno=caller.f_lineno)
    run.__doc__ = operator.__doc__
    run.operator = operator  # type: ignore[attr-defined]
    return run
