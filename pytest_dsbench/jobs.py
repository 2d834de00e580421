"""Which cases run with which providers: the plan of a bench, made without torch and without importing any library."""

from dataclasses import dataclass

from .mistake import Mistake, unknown
from .operator import Operator, Provider
from .operators import everything
from .options import Options
from .shapes import Broken, Case, Shapes, bundled, load


@dataclass(frozen=True)
class Job:
    """One case and the provider to run it."""

    case: Case
    provider: Provider

    @property
    def id(self) -> str:
        """The name pytest shows in brackets."""
        return f"{self.case.label}-{self.provider.name}"


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

    @classmethod
    def find(cls, options: Options, device: str) -> "Jobs":
        """Reads the shape files of a run: the user's, or the bundled ones where there are none."""
        from . import providers

        everything()
        providers.load()
        return cls(options, device, load(options.shapes or (bundled(),), options.root), {})

    def of(self, operator: type[Operator]) -> list[Job | Idle | Broken]:
        """Everything a bench of `operator` has to run, or to fail with."""
        broken = [one for one in self.shapes.broken if one.operator == operator.name]
        cases = self.shapes.of(operator.name)
        present = self._present(operator)
        if not cases and not broken:
            return [Idle(f"no shape file has a case of {operator.name}")]
        if not present:
            return [*broken, Idle(f"no provider of {operator.name} runs here; {self._why(operator)}")]
        return [*broken, *(Job(case, provider) for case in cases for provider in present)]

    def _present(self, operator: type[Operator]) -> list[Provider]:
        found = []
        for provider in operator.providers.values():
            wanted = provider.name in self.options.providers if self.options.providers else not provider.opt_in
            reason = provider.absent(self.device) if wanted else None
            if reason:
                self.absent[provider.name] = f"{provider.name}: {reason}"
            elif wanted:
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
