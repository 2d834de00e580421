"""From a planned case to what can be measured: the bench file is imported as pytest would, and pytest has no part in it."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import handmade, providers
from ..blame import headline
from ..handmade import DEFAULT, Handmade
from ..measurement import OWN, Measurement, Planned
from ..mistake import Mistake, unknown
from ..operator import Inputs, New, Tolerance
from ..operators import find
from ..provider import Provider
from ..trial import Subject
from ..work import Work

#: What measures a subject with a provider.
Measuring = Callable[[Subject, Provider], Measurement]


class Loader:
    """The benches below one root folder."""

    def __init__(self, root: Path, device: str) -> None:
        self._root = root
        self._device = device
        self._modules: dict[Path, ModuleType] = {}
        _first_on_path(root / "src")
        _first_on_path(root)
        providers.load()

    def measure(self, case: Planned, measuring: Measuring) -> Measurement:
        """Hands the case to `measuring`. Raises Mistake where there is no such case here."""
        name, _, function = case.bench.partition("::")
        module = self._bench(self._root / name) if name and (self._root / name).is_file() else None
        if case.provider == OWN:
            if module is None:
                raise Mistake(f"there is no {name} here")
            return _by_hand(module, function, case, measuring)
        operator = find(case.operator)
        provider = operator.providers.get(case.provider)
        if provider is None:
            raise Mistake(unknown(f"provider of {case.operator}", case.provider, operator.providers))
        reason = provider.absent(self._device)
        if reason:
            raise Mistake(f"{provider.name}: {reason}")
        return measuring(operator.build(case.dims), provider)

    def _bench(self, path: Path) -> ModuleType:
        """The module of a bench file, after the conftest.py files on the way to it."""
        for folder in reversed([path.parent, *path.parent.parents]):
            if folder.is_relative_to(self._root) and (folder / "conftest.py").is_file():
                self._module(folder / "conftest.py")
        return self._module(path)

    def _module(self, path: Path) -> ModuleType:
        if path not in self._modules:
            self._modules[path] = self._imported(path)
        return self._modules[path]

    def _imported(self, path: Path) -> ModuleType:
        top, names = path.parent, [path.stem]
        while (top / "__init__.py").is_file():
            names.insert(0, top.name)
            top = top.parent
        _first_on_path(top)
        name = ".".join(names)
        known = sys.modules.get(name)
        if known is not None and known.__file__ != str(path):
            del sys.modules[name]  # another file of the same name, such as a conftest.py
        with _blame(str(path.relative_to(self._root))):
            return importlib.import_module(name)


def _first_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@contextmanager
def _blame(who: str) -> Iterator[None]:
    """Turns whatever a bench raises into one sentence that names it; pytest's own ways to skip and fail are no Exceptions."""
    try:
        yield
    except Mistake:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != "_pytest.outcomes":
            raise
        raise Mistake(f"{who} raised {type(error).__name__}: {headline(error)}") from error


class _Enough(BaseException):
    """Leaves a bench by hand once its case was measured; no Exception, so that the bench does not catch it."""

    def __init__(self, found: Measurement) -> None:
        super().__init__()
        self.found = found


class Stand:
    """Stands for the `dsbench` fixture of one bench by hand."""

    def __init__(self, case: Planned, wanted: int, measuring: Measuring) -> None:
        self._case = case
        self._wanted = wanted
        self._measuring = measuring
        self.calls = 0

    def __call__(
        self,
        *,
        inputs: Callable[[New], Inputs],
        launch: Callable[..., Any],
        reference: Callable[..., Any],
        work: Work,
        tolerance: dict[str, Tolerance] | Tolerance = DEFAULT,
        inplace: tuple[str, ...] = (),
        constants: tuple[str, ...] = (),
    ) -> Measurement:
        """Measures the call that is wanted, as `fixture.Dsbench` does; an earlier one is as one that is only checked."""
        self.calls += 1
        if self.calls < self._wanted:
            return Measurement(case=self._case, status="checked")
        name = f"{self._case.bench}[{self._case.label}]"
        subject = Handmade(name, inputs, launch, reference, work, tolerance, constants=constants)
        raise _Enough(self._measuring(subject, handmade.provider(inplace)))


def _by_hand(module: ModuleType, function: str, case: Planned, measuring: Measuring) -> Measurement:
    bench = _function(module, function)
    number = case.label.rpartition("#")[2] if "#" in case.label else ""
    stand = Stand(case, int(number) if number.isdigit() else 1, measuring)
    arguments = _arguments(bench, function, {**case.dims, "dsbench": stand})
    try:
        with _blame(function):
            bench(**arguments)
    except _Enough as enough:
        return enough.found
    raise Mistake(f"{function} called dsbench {stand.calls} times; {case.name} is not among them")


def _function(module: ModuleType, name: str) -> Callable[..., Any]:
    """`bench_x`, or `TestX::bench_x`."""
    found: Any = module
    for part in name.split("::"):
        if not hasattr(found, part):
            raise Mistake(f"there is no {name} in {Path(module.__file__ or '').name}")
        found = getattr(found, part)
        found = found() if isinstance(found, type) else found
    assert callable(found)
    return found  # type: ignore[no-any-return]


def _arguments(bench: Callable[..., Any], name: str, known: dict[str, Any]) -> dict[str, Any]:
    """What the bench is called with. Raises Mistake for what only pytest could give it."""
    wanted = inspect.signature(bench).parameters.values()
    for one in wanted:
        if one.name not in known and one.default is one.empty:
            raise Mistake(
                f"{name} asks for {one.name!r}: outside of pytest there are only numbers and texts it is parametrized by"
            )
    return {one.name: known[one.name] for one in wanted if one.name in known}
