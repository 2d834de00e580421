"""Which cases run with which providers: the plan of a bench, made without torch and without importing any library."""

from dataclasses import dataclass

from .contracts import of
from .hardware import named
from .hardware.device import fp8_encoding
from .mistake import Mistake, unknown
from .operator import Operator
from .operators import everything
from .options import Options
from .provider import Provider
from .shapes import Broken, Case, Shapes, bundled, load
from .units import Fp8Dtype


@dataclass(frozen=True)
class Job:
    """One case and the provider to run it."""

    case: Case
    #: None in a plan of an operator that nobody has a provider for
    provider: Provider | None

    @property
    def id(self) -> str:
        """The name pytest shows in brackets."""
        return f"{self.case.label}-{self.provider.name}" if self.provider else self.case.label

    @property
    def tags(self) -> tuple[str, ...]:
        """What -m and -k may name: the tags of the case, and the kernels that its provider calls."""
        kernels = [one.kernel for one in of(self.case.op.name, self.provider.name)] if self.provider else []
        return tuple(dict.fromkeys((*self.case.tags, *kernels)))


@dataclass(frozen=True)
class Fuzz:
    """A provider to be checked at shapes that are drawn."""

    operator: type[Operator]
    provider: Provider
    #: how many, and the seed; None for another one each time
    draws: tuple[int, int | None]

    @property
    def id(self) -> str:
        """The name pytest shows in brackets."""
        return f"fuzz-{self.provider.name}"


@dataclass(frozen=True)
class Idle:
    """An operator that nothing here can run: one sentence says why."""

    reason: str

    @property
    def id(self) -> str:
        """The name pytest shows in brackets."""
        return "no-provider"


@dataclass
class Jobs:
    """The shapes of a run and the providers that are here, shared by all its benches."""

    options: Options
    #: "cuda" or "cpu"
    device: str
    shapes: Shapes
    #: providers that are not here: sentence by name
    absent: dict[str, str]
    #: operators that were known when the shape files were read
    known: frozenset[str]

    @classmethod
    def find(cls, options: Options, device: str) -> "Jobs":
        """Reads the shape files of a run: the user's, or the bundled ones where there are none."""
        from . import providers

        known = frozenset(everything())
        providers.load()
        return cls(options, device, load(options.shapes or bundled(), options.root, _fp8(options)), {}, known)

    def of(self, operator: type[Operator]) -> list[Job | Fuzz | Idle | Broken]:
        """Everything a bench of `operator` has to run, or to fail with."""
        self._meet(operator.name)
        broken = [one for one in self.shapes.broken if one.operator == operator.name]
        cases = self.shapes.of(operator.name)
        present = self._present(operator)
        if not cases and not broken:
            return [Idle(f"no shape file has a case of {operator.name}")]
        if self.options.plan is not None:
            anybody: list[Provider | None] = [*self._wanted(operator)] or [None]
            return [*broken, *(Job(case, provider) for case in cases for provider in anybody)]
        draws = self.options.fuzz
        fuzzed = [Fuzz(operator, provider, draws) for provider in present] if draws[0] else []
        if not present:
            return [*broken, Idle(f"no provider of {operator.name} runs here; {self._why(operator)}")]
        return [*broken, *(Job(case, provider) for case in cases for provider in present), *fuzzed]

    def _meet(self, name: str) -> None:
        """Reads the files of an operator that was defined after all files were read, such as in a later bench file."""
        if name in self.known:
            return
        self.known |= {name}
        late = dict.fromkeys(self.options.root / one.path for one in self.shapes.broken if one.operator == name)
        found = load(late, self.options.root, _fp8(self.options))
        others = tuple(one for one in self.shapes.broken if one.operator != name)
        again = tuple(one for one in found.broken if one.operator == name)
        self.shapes = Shapes(cases=self.shapes.cases + found.of(name), broken=others + again)

    def _wanted(self, operator: type[Operator]) -> list[Provider]:
        """The providers that were asked for, here or not: all that a plan needs to know."""
        named = self.options.providers
        return [one for one in operator.providers.values() if (one.name in named if named else not one.opt_in)]

    def _present(self, operator: type[Operator]) -> list[Provider]:
        found = []
        for provider in self._wanted(operator):
            reason = provider.absent(self.device)
            if reason:
                self.absent[provider.name] = f"{provider.name}: {reason}"
            else:
                found.append(provider)
        return found

    def _why(self, operator: type[Operator]) -> str:
        reasons = [self.absent[name] for name in operator.providers if name in self.absent]
        return "; ".join(reasons) or f"it has {', '.join(operator.providers) or 'none'}"

    def orphans(self) -> list[Broken]:
        """Broken files and rows that belong to no known operator, and so to no bench."""
        return [one for one in self.shapes.broken if one.operator not in everything()]

    def check_providers(self) -> None:
        """Raises Mistake for a name in --dsbench-provider that no operator knows."""
        known = {name for operator in everything().values() for name in operator.providers}
        for name in self.options.providers:
            if name not in known:
                raise Mistake(f"--dsbench-provider: {unknown('provider', name, known)}")


def _fp8(options: Options) -> Fp8Dtype:
    """The fp8 encoding of the sheet that was named, or else of the device here."""
    return fp8_encoding() if options.hw in (None, "cpu") else named(options.hw or "").fp8_encoding
