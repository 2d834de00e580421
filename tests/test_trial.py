"""The correctness rounds of one provider: what is stale, stray, unwritten, changed or unsteady is found before any timing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from pytest_dsbench import trial  # noqa: E402
from pytest_dsbench.check import Wrong, same  # noqa: E402
from pytest_dsbench.operator import Inputs, New, Recipe, Spec, Tolerance  # noqa: E402
from pytest_dsbench.provider import Launch, Provider  # noqa: E402
from pytest_dsbench.tensors import GUARD, POISON, Guarded  # noqa: E402
from pytest_dsbench.trial import Content, Trial, clone, content, copy_into, edge_contents, light  # noqa: E402
from pytest_dsbench.work import Work  # noqa: E402

Prepare = Callable[..., Any]


@dataclass
class Scaled:
    """x [rows, columns] times weight [columns], a weight being constant."""

    rows: int = 4
    columns: int = 6
    moved: int = 100

    tolerance = {"out": Tolerance(rtol=1e-3, atol=1e-6, rel_l2=1e-3)}
    edges: tuple[Recipe, ...] = ("zeros", "huge_channel")
    constants: tuple[str, ...] = ("weight",)
    exact_dtype = True

    def work(self) -> Work:
        return Work(read=self.moved, written=0, flop={"fp32": 1})

    def inputs(self, new: New) -> Inputs:
        return {"x": new.normal((self.rows, self.columns), "fp32"), "weight": new.normal((self.columns,), "fp32", mean=1.0)}

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.rows, self.columns), dtype="fp32")}

    def reference(self, x: Tensor, weight: Tensor) -> Any:
        return x.double() * weight.double()

    def flaw(self, inputs: Any, got: Any, want: Any) -> str | None:
        return None


def provider(prepare: Prepare, inplace: tuple[str, ...] = ()) -> Provider:
    return Provider(name="mine", prepare=prepare, devices=("cpu",), inplace=inplace)


def contents_of(subject: Scaled) -> tuple[list[Content], list[Content]]:
    first = content(subject, "cpu", 0)
    return [first, content(subject, "cpu", 1, base=first)], edge_contents(subject, "cpu", first)


def run(
    prepare: Prepare, subject: Scaled | None = None, inplace: tuple[str, ...] = (), peer: dict[str, float] | None = None
) -> Trial:
    subject = subject or Scaled()
    contents, edges = contents_of(subject)
    before = [{name: value.clone() for name, value in one.inputs.items()} for one in [*contents, *edges]]
    try:
        return trial.run(subject, provider(prepare, inplace), contents, edges, "cpu", peer)
    finally:
        # Whatever a provider does, it does to copies.
        for kept, one in zip(before, [*contents, *edges], strict=True):
            assert all(same(kept[name], value) for name, value in one.inputs.items())


def wrong(prepare: Prepare, **options: Any) -> str:
    with pytest.raises(Wrong) as raised:
        run(prepare, **options)
    return str(raised.value)


def good(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
    return lambda: x * weight


# -- a good provider ----------------------------------------------------------------------------------------------------------


def test_a_right_provider() -> None:
    found = run(good)
    assert found.figures.rounds == ("content 0", "content 1", "zeros", "huge_channel")
    assert found.figures.deterministic
    assert found.figures.rel_l2 == found.figures.worst == {"out": 0.0}
    contents, _ = contents_of(Scaled())
    for number in (0, 1):
        assert torch.equal(found.golden[number]["out"], contents[number].inputs["x"] * contents[number].inputs["weight"])


@pytest.mark.parametrize("number", [0, 1])
def test_figures_are_the_worst_of_all_rounds(number: int) -> None:
    own = float(contents_of(Scaled())[0][number].inputs["x"][0, 0])

    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        return lambda: x * weight * (1.0005 if float(x[0, 0]) == own else 1.0001)

    found = run(prepare).figures
    assert found.rel_l2["out"] == pytest.approx(5e-4, rel=1e-2)
    assert found.worst["out"] == pytest.approx(0.5, rel=1e-2)
    assert found.deterministic


def test_what_ran_is_what_the_launch_dispatched() -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        doubled = weight.add(weight)
        return lambda: torch.mul(x, doubled).div(2)

    found = run(prepare)
    assert found.seen == ("aten.mul", "aten.div")
    assert found.launch().shape == (4, 6)


def test_one_output_buffer_for_all_calls() -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        out = torch.empty_like(x)
        return lambda: torch.mul(x, weight, out=out)

    golden = run(prepare).golden
    assert not torch.equal(golden[0]["out"], golden[1]["out"])


def test_constants_may_be_baked_in() -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        kept = weight.clone()
        return lambda: x * kept

    run(prepare)
    assert "[inputs: content 1]" in wrong(prepare, subject=Scaled(constants=()))


def test_what_a_provider_raises_passes_through() -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        return lambda: x.view(7)

    with pytest.raises(RuntimeError, match="shape"):
        run(prepare)
    with pytest.raises(ZeroDivisionError):
        run(lambda *_, **__: 1 / 0)


# -- what is found ------------------------------------------------------------------------------------------------------------


def computed_while_preparing(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
    done = x * weight
    return lambda: done


def remembered_by_address(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
    known: dict[int, Tensor] = {}
    return lambda: known.setdefault(x.data_ptr(), x * weight)


def copied_while_preparing(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
    kept = x.clone()
    return lambda: kept * weight


@pytest.mark.parametrize("prepare", [computed_while_preparing, remembered_by_address, copied_while_preparing])
def test_stale_results(prepare: Prepare) -> None:
    text = wrong(prepare)
    assert text.startswith("output 'out' is wrong: ") and text.endswith(" [inputs: content 1]")


def test_wrong_from_the_start() -> None:
    assert wrong(lambda _, x, weight: lambda: x + weight).endswith(" [inputs: content 0]")


@pytest.mark.parametrize("where", ["in the launch", "while preparing"])
def test_an_element_that_is_not_written(where: str) -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        early = torch.empty_like(x)

        def launch() -> Tensor:
            out = early if where == "while preparing" else torch.empty_like(x)
            out[:3] = x[:3] * weight
            out[3, 1:] = x[3, 1:] * weight[1:]
            return out

        return launch

    text = wrong(prepare)
    assert "nan at [3, 0] where the reference is " in text and text.endswith("; perhaps it was never written [inputs: content 0]")


def past(value: Tensor, by: int) -> None:
    """Writes one element past the end of a tensor, or before its beginning."""
    at = value.storage_offset() + (value.numel() if by > 0 else -1)
    value.as_strided((1,), (1,), at).fill_(1.0)


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", ["x", "weight", "out"])
def test_writing_out_of_bounds(name: str, by: int) -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        def launch() -> Tensor:
            out = torch.empty_like(x)
            torch.mul(x, weight, out=out)
            past({"x": x, "weight": weight, "out": out}[name], by)
            return out

        return launch

    label = "an output it allocated" if name == "out" else f"input {name!r}"
    assert wrong(prepare) == f"wrote out of bounds: the guard bytes around {label} changed"


@pytest.mark.parametrize("name", ["x", "weight"])
@pytest.mark.parametrize("inplace", [(), ("x",)])
def test_changing_an_input(name: str, inplace: tuple[str, ...]) -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        def launch() -> Tensor:
            out = x * weight
            (x if name == "x" else weight).add_(1)
            return out

        return launch

    if name in inplace:
        run(prepare, inplace=inplace)
    else:
        sentence = f"changed its input {name!r}; declare it with inplace=({name!r},) if the kernel works in place"
        assert wrong(prepare, inplace=inplace) == sentence


def test_a_provider_that_works_in_place() -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        return lambda: x.mul_(weight)

    golden = run(prepare, inplace=("x",)).golden
    contents, _ = contents_of(Scaled())
    for number in (0, 1):
        assert torch.equal(golden[number]["out"], contents[number].inputs["x"] * contents[number].inputs["weight"])


def test_an_unsteady_provider_is_flagged_not_failed() -> None:
    def prepare(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        calls: list[int] = []

        def launch() -> Tensor:
            calls.append(1)
            return x * weight * (1 + 1e-6 * len(calls))

        return launch

    found = run(prepare).figures
    assert not found.deterministic
    assert 1e-6 < found.rel_l2["out"] < 1e-5


def test_edges_find_what_random_values_do_not() -> None:
    def by_the_maximum(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        return lambda: x / x.abs().max() * x.abs().max() * weight

    assert wrong(by_the_maximum).endswith(" [inputs: zeros]")
    run(by_the_maximum, subject=Scaled(edges=("huge_channel",)))

    def clipped(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        return lambda: x.clamp(-20, 20) * weight

    assert wrong(clipped).endswith(" [inputs: huge_channel]")
    assert run(clipped, subject=Scaled(edges=("zeros",))).figures.rounds == ("content 0", "content 1", "zeros")


def test_edges_only_where_they_are_cheap() -> None:
    assert light(Scaled(moved=64 * 2**20)) and not light(Scaled(moved=64 * 2**20 + 1))
    assert contents_of(Scaled(moved=2**30))[1] == []
    assert run(good, subject=Scaled(moved=2**30)).figures.rounds == ("content 0", "content 1")


def test_what_torch_reaches_is_asked_of_random_values_only() -> None:
    def rounded(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        return lambda: x * weight * 1.0004

    run(rounded)
    assert "more than 2x that of torch" in wrong(rounded, peer={"out": 1e-9})

    def rounded_where_one_is_huge(_: Scaled, x: Tensor, weight: Tensor) -> Launch:
        return lambda: x * weight * (1.0004 if x.abs().max() > 20 else 1.0)

    run(rounded_where_one_is_huge, peer={"out": 1e-9})


def test_another_kind_of_output() -> None:
    assert wrong(lambda _, x, weight: lambda: (x * weight).half()) == "output 'out' has dtype fp16; expected fp32"
    assert wrong(lambda _, x, weight: lambda: (x * weight).T).startswith("output 'out' has shape [6, 4]")
    assert wrong(lambda _, x, weight: lambda: None) == "returned nothing; expected 1: out"
    assert "prepared a Tensor; expected the launch" in wrong(lambda _, x, weight: x * weight)


# -- contents -----------------------------------------------------------------------------------------------------------------


def test_contents_differ_but_for_their_constants() -> None:
    contents, edges = contents_of(Scaled())
    first, second = contents
    assert not torch.equal(first.inputs["x"], second.inputs["x"])
    assert all(one.inputs["weight"] is first.inputs["weight"] for one in [second, *edges])
    assert [one.recipe for one in [*contents, *edges]] == ["random", "random", "zeros", "huge_channel"]
    assert not edges[0].inputs["x"].any()
    for one in [*contents, *edges]:
        assert torch.equal(one.want["out"], one.inputs["x"].double() * one.inputs["weight"].double())
    again, _ = contents_of(Scaled())
    assert torch.equal(first.inputs["x"], again[0].inputs["x"])


class Spoiling(Scaled):
    """Its reference overwrites what it is given."""

    def reference(self, x: Tensor, weight: Tensor) -> Any:
        return x.mul_(weight)


def test_the_reference_works_on_copies() -> None:
    found = content(Spoiling(), "cpu", 0)
    assert torch.equal(found.want["out"], found.inputs["x"] * found.inputs["weight"])


class Answering(Scaled):
    """Its reference gives what the test says."""

    answer: Any = None

    def reference(self, x: Tensor, weight: Tensor) -> Any:
        return self.answer(x * weight)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda out: (out, out), "the reference returned 2 outputs; expected 1: out"),
        (lambda out: out[:1], "the reference's output 'out' has shape [1, 6]; expected [4, 6]"),
        (lambda out: out[:, :1], "the reference's output 'out' has shape [4, 1]; expected [4, 6]"),
    ],
)
def test_a_reference_of_another_shape(answer: Callable[[Tensor], Any], sentence: str) -> None:
    subject = Answering()
    subject.answer = answer
    with pytest.raises(Wrong) as raised:
        content(subject, "cpu", 0)
    assert str(raised.value) == sentence


def test_a_reference_that_gives_nan() -> None:
    subject = Answering()
    subject.answer = lambda out: [out.log()]
    assert not content(subject, "cpu", 0).finite_reference
    subject.answer = lambda out: out / 0.0
    assert content(subject, "cpu", 0).finite_reference


# -- copies -------------------------------------------------------------------------------------------------------------------

WIDE = torch.arange(60.0).view(5, 12)


@pytest.mark.parametrize(
    "value",
    [WIDE, WIDE.T, WIDE[:, 3:7], WIDE[::2, ::3], WIDE.view(5, 3, 4).permute(2, 0, 1), torch.tensor(3.0), torch.zeros(0, 4)],
    ids=["contiguous", "transposed", "columns", "steps", "permuted", "scalar", "empty"],
)
def test_copies_have_the_same_strides_and_no_memory_in_common(value: Tensor) -> None:
    guarded = Guarded()
    copy = clone({"x": value}, guarded)["x"]
    assert same(copy, value) and copy.shape == value.shape and copy.stride() == value.stride()
    before = value.clone()
    copy.add_(1)
    assert same(value, before)
    assert guarded.broken() is None
    past(copy.as_strided((1,), (1,)), -1)
    assert guarded.broken() == "input 'x'"


def test_gaps_between_rows_are_poisoned() -> None:
    copy = clone({"x": WIDE[:, 3:7]})["x"]
    gaps = copy.as_strided((4, 8), (12, 1), copy.storage_offset() + 4)
    assert bool(gaps.isnan().all())


def test_an_expanded_tensor_becomes_a_plain_one() -> None:
    value = torch.ones(1, 4).expand(3, 4)
    copy = clone({"x": value})["x"]
    copy[0] += 1
    assert copy.tolist() == [[2.0] * 4, [1.0] * 4, [1.0] * 4]


def test_guards_lie_on_both_sides_of_every_copy() -> None:
    guarded = Guarded()
    copies = clone({"x": WIDE, "y": WIDE.half()}, guarded)
    assert [label for label, _ in guarded._buffers] == ["input 'x'", "input 'y'"]
    for (_, whole), copy in zip(guarded._buffers, copies.values(), strict=True):
        assert whole.numel() == copy.nbytes + 2 * GUARD
        assert set(whole[:GUARD].tolist()) == set(whole[-GUARD:].tolist()) == {POISON}


def test_copying_into_keeps_the_buffers() -> None:
    buffers = clone({"x": WIDE.T})
    kept = buffers["x"]
    copy_into(buffers, {"x": (WIDE + 1).T})
    assert buffers["x"] is kept and torch.equal(kept, (WIDE + 1).T)
