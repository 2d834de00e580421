"""bench(Operator): every case of its shape files x every provider present, as one pytest function."""

import sys
from collections.abc import Callable
from typing import Any

from .operator import Operator
from .operators import find


def bench(operator: type[Operator] | str) -> Callable[..., Any]:
    """A bench of one operator, by class or by name: assign it to a name that begins with `bench_` in a file `bench_*.py`.

    pytest shows it at the line where `bench` was called. Raises Mistake for a name no operator has.
    """
    wanted = find(operator) if isinstance(operator, str) else operator

    def run(dsbench: Any) -> None:
        dsbench.measure()

    caller = sys._getframe(1)
    run.__code__ = run.__code__.replace(co_filename=caller.f_code.co_filename, co_firstlineno=caller.f_lineno)
    run.__doc__ = wanted.__doc__
    run.operator = wanted  # type: ignore[attr-defined]
    return run
