"""What of the kernels under contract could run here, found out without importing any of their libraries."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .contracts import Contract, contracts, of
from .contracts.refusal import Capability, built_for
from .mistake import Mistake
from .operators import find
from .record import Record
from .signatures import Call, Installed, Library, Misfit, Wheel, calls, misfits


class Finding(Record):
    """One kernel under contract, and one release of its library, if there is any."""

    contract: Contract
    #: functions of the library that the provider uses
    functions: tuple[str, ...]
    #: the distribution and its version; None where none of the contract's is there
    distribution: str | None = None
    version: str | None = None
    #: calls that the library does not take
    misfits: tuple[Misfit, ...] = ()
    #: why the GPU here cannot run it; None where it can, or where there is no GPU
    architecture: str | None = None

    @property
    def released(self) -> bool:
        """Whether this release is one that the contract is about."""
        return self.version is not None and self.contract.released(self.version)

    @property
    def found(self) -> bool:
        """Whether every function is there."""
        return self.version is not None and not any(one.kind == "missing" for one in self.misfits)

    @property
    def surprise(self) -> str | None:
        """One sentence where contract and library disagree; None where all is as the contract says."""
        if self.version is None or not self.functions:
            return None
        if self.released:
            return self.misfits[0].sentence if self.misfits else None
        has = f"{self.distribution} {self.version} has {self.contract.kernel}"
        return f"{has}, which the contract says is in {self.contract.releases}" if self.found else None


def examine(libraries: Sequence[Library], capability: Capability | None = None) -> list[Finding]:
    """A finding per contract and library that may hold its kernel, in the order of the kernels."""
    return [one for contract in contracts() for one in _findings(contract, libraries, capability)]


def _findings(contract: Contract, libraries: Iterable[Library], capability: Capability | None) -> list[Finding]:
    called = _calls(contract)
    bare = Finding(
        contract=contract,
        functions=tuple(dict.fromkeys(one.title for one in called)),
        architecture=built_for(contract.kernel, contract.arch, capability),
    )
    found = [
        bare.replace(distribution=one.distribution, version=one.version, misfits=misfits(called, one))
        for one in libraries
        if one.distribution in contract.packages
    ]
    return found or [bare]


def _calls(contract: Contract) -> list[Call]:
    """What the provider calls for this kernel: what it calls at all, but for the other kernels it chooses from."""
    from . import providers

    providers.load()
    provider = find(contract.operator).providers[contract.provider]
    others = {one.kernel for one in of(contract.operator, contract.provider)} - {contract.kernel}
    return [one for one in calls(provider.prepare) if one.package == contract.module and one.name not in others]


def here() -> list[Library]:
    """The distributions of all contracts that are installed in this environment."""
    found: list[Library] = []
    for name in _distributions():
        with suppress(Mistake):
            found.append(Installed(name))
    return found


def _distributions() -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for contract in contracts() for name in contract.packages))


def wheels(folder: Path) -> list[Library]:
    """The wheels in a folder that are of a distribution under contract. Raises Mistake where there are none."""
    found = [Wheel(path) for path in sorted(folder.glob("*.whl"))]
    mine = [one for one in found if one.distribution in _distributions()]
    if not mine:
        raise Mistake(f"{folder} holds no wheel of {', '.join(_distributions())}; `pip download --no-deps` leaves such files")
    return list(mine)
