"""Tables: what the stages of a layer take on one device, for every size that a grid asks for.

What a kernel takes depends on few of the axes: attention on the sequences and on the GPUs that share heads, experts on the
tokens and on the GPUs that share them. Each list of kernels is made once for each of its own sizes, and looked up from there.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar, get_args

import numpy as np

from ..hardware import Hardware
from ..record import Record
from .layer import Op, Pass, Split, Stage, attention, dense, experts, head, joint, router, shared
from .model.architecture import Architecture, Moe
from .precision import Precision
from .price import links
from .price.assumed import Assumed
from .price.costs import Array, column, times
from .price.efficiencies import Efficiencies, Known
from .price.nic import Nic
from .schedule import Blocks, Parts

_STAGES: tuple[Stage, ...] = get_args(Stage)

K = TypeVar("K", bound=Hashable)
#: Sequences of a micro-batch for each GPU, and new tokens of each.
Size = tuple[int, int]


class _Lists:
    """Lists of kernels, one for each of some sizes, and what each stage of them takes on a device."""

    def __init__(self, sizes: Sequence[K], made: Callable[[K], Iterable[Op]]) -> None:
        places, stages = [], []
        self._ops: list[Op] = []
        for number, size in enumerate(sizes):
            for op in made(size):
                self._ops.append(op)
                places.append(number)
                stages.append(_STAGES.index(op.stage))
        self._shape = (len(sizes), len(_STAGES))
        self._column = column(self._ops)
        self._where = np.array(places, dtype=int) * len(_STAGES) + np.array(stages, dtype=int)

    def on(self, hardware: Hardware, assumed: Assumed, known: Efficiencies | None) -> Array:
        """Seconds [sizes, stages]."""
        measured = values(known_of(self._ops, hardware, known)) if known is not None else np.full(len(self._ops), np.nan)
        found = times(self._column, hardware, assumed, measured).seconds
        sums: Array = np.bincount(self._where, weights=found, minlength=self._shape[0] * self._shape[1]).astype(float)
        return sums.reshape(self._shape)


def known_of(ops: Sequence[Op], hardware: Hardware, known: Efficiencies | None) -> list[Known | None]:
    """What runs say of each kernel; None where they say nothing, or the operator is not quite what the layer runs."""
    return [known.of(op.operator, hardware) if known is not None and op.exact else None for op in ops]


def values(found: Sequence[Known | None]) -> Array:
    """The efficiencies, NaN where there is none."""
    return np.array([np.nan if one is None else one.value for one in found])


class Tables:
    """The lists of a model's kernels at some sizes; made when they are first asked for, and kept for all devices."""

    def __init__(
        self,
        model: Architecture,
        sizes: Sequence[Size],
        context: int,
        decode: bool,
        assumed: Assumed,
        known: Efficiencies | None = None,
    ) -> None:
        """`context`: keys that each sequence sees on the GPU that all others wait for."""
        self.model, self.assumed = model, assumed
        self._known, self._context, self._decode = known, context, decode
        self._sizes = list(sizes)
        self._tokens = sorted({count * each for count, each in sizes})
        self.size = {size: number for number, size in enumerate(self._sizes)}
        self.count = {tokens: number for number, tokens in enumerate(self._tokens)}
        self._lists: dict[Hashable, _Lists] = {}
        self._seconds: dict[Hashable, Array] = {}

    def attention(self, hardware: Hardware, tp: int, precision: Precision) -> Array:
        """Seconds [sizes, stages]."""
        key = ("attention", tp, precision.dense, precision.cache)
        return self._priced(key, hardware, self._sizes, lambda size: attention(self.model, self._pass(size, tp, precision)))

    def dense(self, hardware: Hardware, tp: int, precision: Precision) -> Array:
        """Of the MLP of a dense layer."""
        key = ("dense", tp, precision.dense)
        return self._priced(key, hardware, self._sizes, lambda size: dense(self.model, self._pass(size, tp, precision)))

    def head(self, hardware: Hardware, tp: int, precision: Precision) -> Array:
        """Of the head."""
        return self._priced(("head", tp), hardware, self._sizes, lambda size: head(self.model, self._pass(size, tp, precision)))

    def joint(self, hardware: Hardware, precision: Precision) -> Array:
        """Of what joins a guessed token to the layer that guesses the next."""
        key = ("joint", precision.dense)
        return self._priced(key, hardware, self._sizes, lambda size: joint(self.model, self._pass(size, 1, precision)))

    def beside(self, hardware: Hardware, moe: Moe, precision: Precision) -> Array:
        """Of the router and the shared experts, seconds [tokens, stages]."""

        def made(tokens: int) -> Iterable[Op]:
            yield from router(self.model, moe, tokens)
            yield from shared(self.model, moe, tokens, precision)

        return self._priced(("beside", precision.dense), hardware, self._tokens, made)

    def experts(self, hardware: Hardware, moe: Moe, split: Split, precision: Precision) -> Array:
        """Of the routed experts, seconds [tokens, stages]."""
        key = ("experts", split, precision.experts)
        return self._priced(key, hardware, self._tokens, lambda tokens: experts(self.model, moe, tokens, split, precision))

    def exchanged(
        self, hardware: Hardware, moe: Moe, value: float, splits: Sequence[Split | None], nics: Sequence[Nic | None]
    ) -> Array:
        """Of the network, values of `value` bytes, one way: seconds [NICs, splits, tokens]."""
        here = (("exchanged", value), hardware.name)
        if here not in self._seconds:
            tokens, near = np.array(self._tokens, dtype=float), links.domain(hardware)
            eps = [split.ep for split in splits if split is not None]
            busy = self.assumed.number("imbalance.experts")
            sent = [links.traffic(tokens, moe, self.model.hidden, value, ep, near, self._decode, busy) for ep in eps]
            self._seconds[here] = np.array([[links.seconds(one, hardware, nic, self.assumed) for one in sent] for nic in nics])
        return self._seconds[here]

    def _pass(self, size: Size, tp: int, precision: Precision) -> Pass:
        return Pass(
            sequences=size[0],
            queries=size[1],
            context=max(self._context, size[1]),
            tp=tp,
            precision=precision,
            decode=self._decode,
        )

    def _priced(self, key: Hashable, hardware: Hardware, sizes: Sequence[K], made: Callable[[K], Iterable[Op]]) -> Array:
        here = (key, hardware.name)
        if here not in self._seconds:
            if key not in self._lists:
                self._lists[key] = _Lists(sizes, made)
            self._seconds[here] = self._lists[key].on(hardware, self.assumed, self._known)
        return self._seconds[here]


class _Places(Record):
    """Where some sizes stand in the tables by size and in those by tokens, and the tokens of a group that shares heads."""

    sizes: Any
    tokens: Any
    together: Any


class Lookup:
    """The tables of one device, one way to share heads and one precision."""

    def __init__(self, tables: Tables, hardware: Hardware, tp: int, precision: Precision) -> None:
        self._tables, self._hardware, self._tp, self._precision = tables, hardware, tp, precision

    def blocks(self, sizes: Sequence[Size], splits: Sequence[Split | None], nics: Sequence[Nic | None], guess: bool) -> Blocks:
        """Dispatch and combine [NICs, splits, sizes], experts [splits, sizes], all others [sizes]; `guess`: of guessed tokens."""
        model, at = self._tables.model, self._places(sizes)
        attended = self._attention(at)
        return Blocks(
            dense=self._dense(at, attended) if model.dense_layers else None,
            moe=self._moe(at, attended, splits, nics) if model.moe is not None else None,
            head=_of(self._tables.head(self._hardware, self._tp, self._precision), at.sizes, "head"),
            joint=_of(self._tables.joint(self._hardware, self._precision), at.sizes, "head") if guess else 0.0,
        )

    def _places(self, sizes: Sequence[Size]) -> _Places:
        tokens = [count * each for count, each in sizes]
        return _Places(
            sizes=np.array([self._tables.size[size] for size in sizes]),
            tokens=np.array([self._tables.count[one] for one in tokens]),
            together=np.array(tokens, dtype=float) * self._tp,
        )

    def _dense(self, at: _Places, attended: Parts) -> Parts:
        mlp = self._tables.dense(self._hardware, self._tp, self._precision)
        # The MLP's width is shared too, so that rows are gathered and added up once more.
        return attended.replace(mlp=_of(mlp, at.sizes, "mlp") + attended.gather + attended.scatter)

    def _moe(self, at: _Places, attended: Parts, splits: Sequence[Split | None], nics: Sequence[Nic | None]) -> Parts:
        moe = self._tables.model.moe
        assert moe is not None
        beside = self._tables.beside(self._hardware, moe, self._precision)
        routed = [self._tables.experts(self._hardware, moe, split, self._precision) for split in splits if split is not None]
        there = self._tables.exchanged(self._hardware, moe, self._precision.dispatch_bytes, splits, nics)
        back = self._tables.exchanged(self._hardware, moe, 2.0, splits, nics)
        return attended.replace(
            router=_of(beside, at.tokens, "router"),
            shared=_of(beside, at.tokens, "shared"),
            dispatch=there[:, :, at.tokens],
            experts=np.array([_of(table, at.tokens, "experts") for table in routed]),
            combine=back[:, :, at.tokens],
        )

    def _attention(self, at: _Places) -> Parts:
        table = self._tables.attention(self._hardware, self._tp, self._precision)
        sent = links.exchanged(at.together, self._tables.model.hidden, self._tp)
        across = links.seconds(sent, self._hardware, None, self._tables.assumed)
        return Parts(
            gather=across,
            attention_in=_of(table, at.sizes, "attention_in"),
            attention_out=_of(table, at.sizes, "attention_out"),
            scatter=across,
        )


def _of(table: Array, places: Any, stage: Stage) -> Any:
    return table[places, _STAGES.index(stage)]
