"""One case, one provider: budget, inputs, reference, correctness, clock, bound. Returns a Measurement, whatever happens."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from . import trial
from .blame import blame
from .check import Outputs, Wrong, compare, named, same
from .clock import Buffers, Mode
from .contracts import refusal
from .judged import judged
from .measurement import Measurement, Planned
from .mistake import Mistake
from .operator import Inputs, Operator
from .provenance import fallback, functions
from .provider import Launch, Provider, Unsupported
from .rig import Rig
from .roofline import Bound, bound
from .tensors import Guarded, Maker
from .trial import Content, Subject, Trial, clone, copy_into
from .units import show_memory, show_seconds

#: Most buffer sets a case rotates over; below 2x the cache even with these, the case is reported as hot.
_MOST_SETS = 256
#: Sets that a graph of at least 16 calls needs where a launch overwrites its inputs.
_GRAPH_SETS = 16


@dataclass
class Timed:
    """The plan a clock is given: buffer sets, and the check of what timed calls returned."""

    subject: Subject
    provider: Provider
    contents: list[Content]
    golden: dict[int, Outputs]
    sets: Sequence[Buffers]
    random: random.Random
    device: str
    bitwise: bool
    guarded: Guarded
    mode: Mode | None = None

    def verify(self, content: int, outputs: Any) -> None:
        """Holds the output of one timed call against this provider's own checked output, or the reference. Raises Wrong."""
        got = named(outputs, self.subject.outputs(), self.device, self.subject.exact_dtype)
        if self.bitwise and all(same(got[name], value) for name, value in self.golden[content].items()):
            return
        try:
            compare(self.subject, self.contents[content].inputs, got, self.contents[content].want)
        except Wrong as error:
            raise Wrong(f"a timed call was wrong although the checked ones were right (stale or replayed?): {error}") from None


def measure(
    rig: Rig, case: Planned, subject: Subject, provider: Provider, mode: Mode | None = None
) -> tuple[Measurement, list[float]]:
    """Measures one case on the rig; also returns its samples in seconds. `mode` is how a GPU must time it, if that matters."""
    found = Measurement(
        case=case,
        status="skipped",
        packages=provider.packages(),
        hardware=rig.hardware.name,
        environment=rig.environment.key(),
        device=rig.environment.uuid,
    )
    try:
        found = found.replace(work=subject.work())
        limit = bound(subject.work(), rig.hardware)
        found = found.replace(bound=limit)
        reason = _refused(rig, subject, provider)
        with blame(f"the definition of {case.operator}", rig):
            reason = reason or over_budget(rig, subject, limit)
    except Mistake as error:
        return found.replace(reason=str(error)), []
    except Wrong as error:
        return found.replace(status="failed", reason=str(error)), []
    if reason:
        return found.replace(reason=reason), []
    try:
        return _measured(rig, found, subject, provider, mode)
    except Unsupported as error:
        return found.replace(status="skipped", reason=str(error)), []
    except Wrong as error:
        return found.replace(status="failed", reason=str(error)), []


def _refused(rig: Rig, subject: Subject, provider: Provider) -> str | None:
    """Why the kernel must not be launched for this case, from its contract alone; a bench by hand has none."""
    if not isinstance(subject, Operator):
        return None
    try:
        return refusal(subject, provider, rig.capability)
    except Mistake as error:
        raise Wrong(f"provider {provider.name!r}: {error}") from None


def over_budget(rig: Rig, subject: Subject, limit: Bound) -> str | None:
    """Why a case is too big for the budget, from its work model alone, before anything is allocated."""
    seconds, memory = rig.budget
    if seconds is not None and limit.seconds > seconds:
        return f"T_SOL {show_seconds(limit.seconds)} over the budget of {seconds:g} s"
    need = memory_need(subject)
    if memory is not None and need > memory:
        return f"memory {show_memory(need)} over the budget of {show_memory(memory)}"
    return None


def memory_need(subject: Subject) -> int:
    """Bytes a case needs at its peak: two contents, one checked copy and two timed sets of the inputs; golden, checked and
    timed outputs; two references in fp64."""
    inputs = sum(value.nbytes for value in subject.inputs(Maker(0, "meta")).values())
    specs = subject.outputs().values()
    elements = sum(torch.Size(spec.shape).numel() for spec in specs)
    return 5 * inputs + 5 * sum(spec.nbytes for spec in specs) + 2 * 8 * elements


def _measured(
    rig: Rig, found: Measurement, subject: Subject, provider: Provider, mode: Mode | None
) -> tuple[Measurement, list[float]]:
    contents, edges = _contents(rig, subject, found.case.operator)
    with blame(f"provider {provider.name!r}", rig), torch.no_grad():
        tried = trial.run(subject, provider, contents, edges, rig.device, _peer(rig, subject, provider, contents))
        found = found.replace(
            status="checked",
            correctness=tried.figures,
            ran=functions(tried.launch, tried.seen),
            notes=fallback(provider, tried.seen),
        )
        if rig.clock is None or not provider.timed:
            return found, []
        plan = _plan(rig, subject, provider, contents, tried)
        plan.mode = mode
        found = found.replace(anchors=rig.anchors(), at=time.time())
        samples = rig.clock.time(plan)
        aside = rig.probe(plan) if rig.probe else None
        _afterwards(plan)
    if aside:
        samples.notes.append(aside)
    return judged(rig, found, samples, _covered(plan, rig)), samples.seconds


def _contents(rig: Rig, subject: Subject, name: str) -> tuple[list[Content], list[Content]]:
    with blame(f"the reference of {name}", rig):
        contents, edges = rig.contents(subject)
        for values in contents:
            if not values.finite_reference:
                raise Wrong(f"the reference of {name} itself gives NaN [inputs: {values.recipe}]")
    return contents, edges


def check(rig: Rig, subject: Subject, name: str, provider: Provider) -> Trial:
    """The correctness rounds alone. Raises Wrong with one sentence, or Unsupported."""
    reason = _refused(rig, subject, provider)
    if reason:
        raise Unsupported(reason)
    contents, edges = _contents(rig, subject, name)
    with blame(f"provider {provider.name!r}", rig), torch.no_grad():
        return trial.run(subject, provider, contents, edges, rig.device, _peer(rig, subject, provider, contents))


def _peer(rig: Rig, subject: Subject, provider: Provider, contents: list[Content]) -> dict[str, float] | None:
    """Relative errors of the operator's torch provider on the first content, where this is another one."""
    native = getattr(subject, "providers", {}).get("torch")
    if native is None or native is provider or native.absent(rig.device):
        return None
    try:
        with blame("torch", rig):
            return trial.run(subject, native, contents, [], rig.device).figures.rel_l2
    except (Wrong, Unsupported):
        return None  # torch's own case says so; it is no measure for this one


def _plan(rig: Rig, subject: Subject, provider: Provider, contents: list[Content], tried: Trial) -> Timed:
    """Enough buffer sets to exceed the cache twice; each is prepared on the other content's values and then refilled, so that
    whatever a provider computed while preparing is stale."""
    held = sum(value.nbytes for value in contents[0].inputs.values()) + sum(spec.nbytes for spec in subject.outputs().values())
    # A graph replays its calls without a flush between them, so on a GPU its buffers must cover more.
    least, times = (_GRAPH_SETS, 3) if rig.device == "cuda" and held < rig.cache else (2, 2)
    wanted = -(-times * int(rig.cache) // max(held, 1)) if rig.cold else least
    count = min(max(least, wanted), _MOST_SETS)
    count += count % 2
    sets, guarded = [], Guarded()
    for number in range(count):
        own, other = contents[number % 2].inputs, contents[1 - number % 2].inputs
        buffers = clone(other, guarded)
        launch = provider.prepare(subject, **buffers)
        copy_into(buffers, own)
        sets.append(Buffers(number % 2, launch, _restorer(provider, buffers, own), buffers))
    return Timed(
        subject=subject,
        provider=provider,
        contents=contents,
        golden=tried.golden,
        sets=sets,
        random=rig.random,
        device=rig.device,
        bitwise=tried.figures.deterministic,
        guarded=guarded,
    )


def _restorer(provider: Provider, buffers: Inputs, own: Inputs) -> Launch | None:
    names = [name for name in provider.inplace if name in buffers]
    return (lambda: [buffers[name].copy_(own[name]) for name in names]) if names else None


def _afterwards(plan: Timed) -> None:
    """After timing: guard bytes intact, and the inputs of one set still what they were."""
    broken = plan.guarded.broken()
    if broken:
        raise Wrong(f"wrote out of bounds during the timed calls: the guard bytes around {broken} changed")
    chosen = plan.random.choice(plan.sets)
    for name, value in plan.contents[chosen.content].inputs.items():
        if name not in plan.provider.inplace and not same(value, chosen.inputs[name]):
            raise Wrong(f"changed its input {name!r} during the timed calls")


def _covered(plan: Timed, rig: Rig) -> bool:
    """Whether the rotated buffers exceed the cache twice, so that every call met cold inputs."""
    if rig.device == "cuda" or not rig.cold:
        return rig.cold
    size = sum(value.nbytes for value in plan.sets[0].inputs.values()) + sum(s.nbytes for s in plan.subject.outputs().values())
    return size * len(plan.sets) >= 2 * rig.cache
