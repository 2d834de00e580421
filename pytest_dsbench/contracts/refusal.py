"""Why a kernel must not be launched for a case: its release, its architecture, its limits. Asked before anything is made."""

from collections.abc import Iterable, Mapping

from ..formula import Condition
from ..operator import Operator
from ..provider import Provider
from .contract import Contract, Limit, contracts, of

Capability = tuple[int, int]


def refusal(op: Operator, provider: Provider, capability: Capability | None) -> str | None:
    """One sentence why `provider` cannot run `op` on a GPU of that compute capability; None where nothing is known against it.

    `capability` is None on a CPU, where nothing is said of architectures. Raises Mistake where a limit of the user's own cannot
    be read.
    """
    here = [one for one in of(op.name, provider.name) if one.when is None or _holds(one.when, op)]
    own = [Limit(holds=holds, why=why) for holds, why in provider.limits.items()]
    reasons = [_released(one, provider.packages()) for one in here]
    reasons += [built_for(one.kernel, one.arch, capability) for one in here]
    reasons += [built_for(provider.name, provider.arch, capability)]
    reasons += [_within(one.kernel, one.limits, op) for one in here]
    reasons += [_within(provider.name, own, op)]
    return next((reason for reason in reasons if reason), None)


def _released(contract: Contract, installed: Mapping[str, str]) -> str | None:
    for name in contract.packages:
        if name in installed and not contract.released(installed[name]):
            return (
                f"{name} {installed[name]} does not have {contract.kernel}, which is in {contract.releases}{_instead(contract)}"
            )
    return None


def _instead(contract: Contract) -> str:
    """What has the same kernel elsewhere."""
    others = [
        f"{one.provider} calls {one.kernel}"
        for one in contracts()
        if one.place == contract.place and one.operator == contract.operator and one.provider != contract.provider
    ]
    return f"; {', '.join(dict.fromkeys(others))}" if others else ""


def built_for(kernel: str, arch: Iterable[str], capability: Capability | None) -> str | None:
    """One sentence where a kernel is built for other architectures than that of the GPU; None where it is not known to be."""
    names = tuple(arch)
    if capability is None or not names or any(_runs_on(name, capability) for name in names):
        return None
    return f"{kernel} is built for {', '.join(names)}; this GPU is sm_{capability[0]}{capability[1]}"


def _runs_on(name: str, capability: Capability) -> bool:
    number = int(name.removeprefix("sm_").rstrip("+"))
    needed = divmod(number, 10)
    return capability >= needed if name.endswith("+") else capability == needed


def _within(kernel: str, limits: Iterable[Limit], op: Operator) -> str | None:
    for limit in limits:
        if not _holds(limit.holds, op):
            given = ", ".join(f"{name} = {getattr(op, name)}" for name in Condition(limit.holds).names)
            return f"{given}, outside the limit {limit.holds} of {kernel}: {limit.why}"
    return None


def _holds(text: str, op: Operator) -> bool:
    condition = Condition(text)
    # Properties count too: a limit may be about the tokens of a ragged batch.
    names = dict.fromkeys((*op.__struct_fields__, *condition.names))
    return condition.holds({name: getattr(op, name) for name in names if hasattr(op, name)})
