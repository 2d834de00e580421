"""Operator: what is measured. Its fields are the dimensions, so an instance *is* a shape.

A new operator is one file with a subclass; a new provider of it is one decorated function. Nothing here imports torch.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self, get_args

import msgspec

from .mistake import Mistake, unknown
from .provider import Launch, Provider, check_limits
from .record import Record
from .units import Dtype, nbytes
from .work import Work

if TYPE_CHECKING:
    from torch import Tensor

#: One dimension: an integer of at least 1.
Dim = Annotated[int, msgspec.Meta(ge=1, le=2**40)]
#: How the values of a content are made: independent draws, all zeros, or draws with one channel a thousand times larger.
Recipe = Literal["random", "zeros", "huge_channel"]
#: The lengths of a ragged batch, one per sequence.
Lengths = Annotated[tuple[Dim, ...], msgspec.Meta(min_length=1)]
#: The same where a sequence may be empty, as it is for a rank that waits for the others.
Ragged = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=2**40)], ...], msgspec.Meta(min_length=1)]

#: More bytes than this do not fit in any address space; a case that needs them is a mistake.
_MOST_BYTES = 2**62

#: Kinds of work, in the order of reports. "routing" chooses experts, and moves tokens to them and back.
CATEGORIES = (
    *("attention", "linear_attention", "gemm", "moe", "routing", "norm", "activation", "rope", "quant", "copy", "sampling"),
    "other",
)


def ordered(categories: Iterable[str]) -> list[str]:
    """Categories in the order of reports: ours, then those of users by name."""
    given = set(categories)
    return [*(name for name in CATEGORIES if name in given), *sorted(given - set(CATEGORIES))]


#: The tensors of one call, by name, in the order of the operator's specification.
Inputs = dict[str, "Tensor"]


class Spec(Record):
    """Shape and dtype of one output."""

    shape: tuple[int, ...]
    dtype: Dtype

    @property
    def nbytes(self) -> int:
        """Bytes of a dense tensor of this shape and dtype."""
        count = 1
        for size in self.shape:
            count *= size
        return nbytes(self.dtype, count)


class Tolerance(Record):
    """How far an output o may be from the reference r. With all fields at their defaults it must be bit-exact.

    Every element: |o - r| <= atol + rtol |r| + rms * rms(r). All together, and in the worst 128 x 128 tile:
    ||o - r|| <= rel_l2 ||r||, where given.
    """

    atol: float = 0.0
    rtol: float = 0.0
    #: share of the root mean square of the reference that is added to atol
    rms: float = 0.0
    rel_l2: float | None = None
    #: for quantised outputs: the share of elements that may be one code away from the reference; the rest is exact
    codes_off: float = 0.0
    #: whether it must also be as near to the reference as torch's own path: not where right kernels round and torch does not
    peer: bool = True
    #: the output has more than one right answer and is judged by `Operator.flaw` alone
    judged: bool = False


EXACT = Tolerance()


class New(Protocol):
    """What makes the inputs of a case: seeded, on the device of the run, with guard bytes around every tensor."""

    def normal(self, shape: tuple[int, ...], dtype: Dtype, std: float = 1.0, mean: float = 0.0) -> "Tensor":
        """Independent normal values, rounded to `dtype`."""

    def uniform(self, shape: tuple[int, ...], dtype: Dtype, low: float = 0.0, high: float = 1.0) -> "Tensor":
        """Independent uniform values in [low, high)."""

    def quantised(self, shape: tuple[int, ...], dtype: Dtype, block: tuple[int, int]) -> "tuple[Tensor, Tensor]":
        """Independent normal values as fp8 codes, and one fp32 scale (largest magnitude / largest code) per rows x columns."""

    def nvfp4(self, shape: tuple[int, ...], swizzled: bool = False) -> "tuple[Tensor, Tensor, Tensor]":
        """Independent normal values as NVFP4: codes uint8 [..., columns / 2], e4m3 scales per 16 of a row, global scale fp32 [1].

        Scales are [..., rows, columns / 16], or swizzled 128 x 4 and padded to whole tiles. A value is code * scale / global.
        """

    def integers(self, shape: tuple[int, ...], dtype: Dtype, high: int, low: int = 0) -> "Tensor":
        """Independent integers in [low, high)."""

    def values(self, values: Iterable[int], dtype: Dtype) -> "Tensor":
        """A one-dimensional tensor of given integers, such as prefix sums."""

    def permutation(self, count: int, dtype: Dtype, of: int | None = None) -> "Tensor":
        """`count` distinct integers out of [0, of), in random order; all of them where `of` is not given."""

    def routing(self, loads: tuple[int, ...], top_k: int, dtype: Dtype) -> "Tensor":
        """Expert ids [tokens, top_k], distinct in every row; `loads`, tokens per expert, are dealt out to the experts at random.

        The sum of `loads` is tokens * top_k, and none of them is over tokens.
        """


#: What a formula of the user's own may raise at dimensions it was not written for.
_FAULTS = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)

_REGISTRY: dict[str, type["Operator"]] = {}


class Operator(Record):
    """Base of all operators. A subclass declares its dimensions as fields and defines the five methods below."""

    #: as in shape files; the name of the class in snake case, where it has none of its own
    name: ClassVar[str] = ""
    #: what kind of work it is, as reports group it: one of CATEGORIES, or a word of the user's own
    category: ClassVar[str] = "other"
    #: how far each output may be from the reference
    tolerance: ClassVar[dict[str, Tolerance]] = {}
    #: input recipes beside the random one, each checked once: "zeros", "huge_channel"
    edges: ClassVar[tuple[Recipe, ...]] = ("zeros", "huge_channel")
    #: inputs that a model holds fixed, such as weights: a provider may bake them into its launch; all others it must read
    #: at every call
    constants: ClassVar[tuple[str, ...]] = ()
    #: what --dsbench-fuzz draws, where it is not any small size: by dimension or helper name (low, high), a list of choices, or
    #: a formula as in shape files; of a dimension that is a list, each item
    fuzz: ClassVar[dict[str, tuple[int, int] | list[Any] | str]] = {}
    exact_dtype: ClassVar[bool] = True
    providers: ClassVar[dict[str, Provider]] = {}

    def __init_subclass__(cls) -> None:
        cls.name = cls.__dict__.get("name") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        cls.providers = {}
        known = _REGISTRY.get(cls.name)
        # The same file imported twice (by pytest under two names, say) is not a second operator.
        if known is not None and known.__module__ != cls.__module__:
            raise Mistake(f"operator {cls.name!r} is defined twice: in {known.__module__} and in {cls.__module__}")
        _REGISTRY[cls.name] = cls

    @classmethod
    def build(cls, dims: dict[str, Any]) -> Self:
        """An operator at `dims`. Raises Mistake on an unknown, missing, mistyped or impossible dimension."""
        for key in dims:
            if key not in cls.__struct_fields__:
                raise Mistake(unknown(f"dimension of {cls.name}", key, cls.__struct_fields__))
        try:
            op = msgspec.convert(dims, cls)
        except msgspec.ValidationError as error:
            raise Mistake(_sentence(cls, str(error), dims)) from None
        contradiction = op.contradiction()
        if contradiction is not None:
            raise Mistake(f"{cls.name}: {contradiction}")
        try:
            moved = op.work().bytes
        except _FAULTS as error:
            raise Mistake(f"{cls.name}: work() raised {type(error).__name__}: {error}") from None
        if moved > _MOST_BYTES:
            raise Mistake(f"{cls.name}: these dimensions overflow: {moved:.3g} bytes fit in no memory")
        return op

    def contradiction(self) -> str | None:
        """One sentence when the dimensions contradict each other; None when they fit together."""
        return None

    def work(self) -> Work:
        """Bytes and FLOP that any implementation must spend at least."""
        raise TypeError(f"{type(self).__name__} defines no work()")

    def inputs(self, new: New) -> Inputs:
        """The input tensors, by name."""
        raise TypeError(f"{type(self).__name__} defines no inputs()")

    def outputs(self) -> dict[str, Spec]:
        """Shape and dtype of every output, by name, in the order in which a launch returns them."""
        raise TypeError(f"{type(self).__name__} defines no outputs()")

    def reference(self, *args: Any, **kwargs: Any) -> Any:
        """The right outputs for the given inputs, in fp64 or fp32 and unrounded where the output is a float."""
        raise TypeError(f"{type(self).__name__} defines no reference()")

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """For outputs with more than one right answer: one sentence about what is wrong, or None."""
        return None

    @classmethod
    def provider(
        cls,
        name: str,
        *,
        needs: str | tuple[str, ...] = (),
        devices: tuple[str, ...] = ("cuda",),
        inplace: tuple[str, ...] = (),
        opt_in: bool = False,
        timed: bool = True,
        limits: Mapping[str, str] | None = None,
        arch: str | tuple[str, ...] = (),
    ) -> Callable[[Callable[..., Launch]], Callable[..., Launch]]:
        """Registers the decorated function as a provider: it takes (op, **inputs) and returns the launch.

        Raises Mistake for a limit that cannot be read, or an architecture that is none.
        """
        archs = (arch,) if isinstance(arch, str) else arch
        check_limits(name, limits or {}, archs)

        def register(prepare: Callable[..., Launch]) -> Callable[..., Launch]:
            packages = (needs,) if isinstance(needs, str) else needs
            made = Provider(name, prepare, packages, devices, inplace, opt_in, timed, limits or {}, archs)
            known = cls.providers.get(name)
            if known is not None and known.prepare.__code__.co_filename != prepare.__code__.co_filename:
                raise Mistake(f"provider {name!r} of {cls.name} is already defined at {known.where}")
            cls.providers[name] = made
            return prepare

        return register


def _sentence(cls: type[Operator], error: str, dims: dict[str, Any]) -> str:
    """msgspec's message ("Expected `int` >= 1 - at `$.tokens`") as our sentence, with the value that was given."""
    message, _, place = error.partition(" - at `$.")
    message = message.replace("`", "")
    field = re.split(r"[^A-Za-z0-9_]", place, maxsplit=1)[0]
    missing = re.fullmatch(r"Object missing required field (\w+)", message)
    if missing:
        return f"{cls.name}: dimension {missing[1]!r} is missing"
    if field not in dims:
        return f"{cls.name}: {message[0].lower()}{message[1:]}"
    words = get_args(next(known.type for known in msgspec.structs.fields(cls) if known.name == field))
    if message.startswith("Invalid enum value") and dims[field] not in words:
        return f"{cls.name}: {unknown(field, str(dims[field]), words)}"
    return f"{cls.name}: dimension {field!r} is {dims[field]!r}; {message[0].lower()}{message[1:]}"


def registered() -> dict[str, type[Operator]]:
    """Every operator whose module has been imported, by name."""
    return dict(_REGISTRY)


def registered_as(name: str) -> type[Operator] | None:
    """The operator of that name, where its module has been imported."""
    return _REGISTRY.get(name)
