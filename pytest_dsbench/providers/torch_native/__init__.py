"""torch: the best native call of each operator, the one an engineer would write without a kernel library; a file per family."""

from collections.abc import Callable

from ...operator import Operator
from ...provider import Launch
from ..torch_compile import compiling

Prepare = Callable[..., Launch]


def native(operator: type[Operator], *, inplace: tuple[str, ...] = (), compiles: bool = True) -> Callable[[Prepare], Prepare]:
    """Registers a provider that launches torch, for any device, and its compiled twin.

    `compiles=False` where the launch looks at values between its calls, which no graph can hold.
    """

    def register(prepare: Prepare) -> Prepare:
        anywhere = ("cpu", "cuda")
        operator.provider("torch", needs="torch", devices=anywhere, inplace=inplace)(prepare)
        if compiles:
            twin = compiling(prepare)
            operator.provider("torch_compile", needs="torch", devices=anywhere, inplace=inplace, opt_in=True)(twin)
        return prepare

    return register
