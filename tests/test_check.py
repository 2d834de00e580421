"""The comparison of an output with its reference: every kind of wrongness, and nothing else, is found."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from pytest_dsbench import deviation as distances  # noqa: E402
from pytest_dsbench.check import Watch, Wrong, compare, named, same  # noqa: E402
from pytest_dsbench.deviation import Deviation, deviation  # noqa: E402
from pytest_dsbench.operator import EXACT, Spec, Tolerance  # noqa: E402
from pytest_dsbench.tensors import Guarded  # noqa: E402

LOOSE = Tolerance(rtol=2**-6, rms=2**-6, rel_l2=8e-3)
FP8 = [torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2]


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def wrong(got: Tensor, want: Tensor, tolerance: Tolerance = LOOSE) -> str:
    found = deviation(got, want, tolerance).wrong
    assert found is not None
    return found


def right(got: Tensor, want: Tensor, tolerance: Tolerance = LOOSE) -> Deviation:
    found = deviation(got, want, tolerance)
    assert found.wrong is None, found.wrong
    assert math.isfinite(found.rel_l2) and math.isfinite(found.worst)
    return found


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 128 rows, so that small tensors have several."""
    monkeypatch.setattr(distances, "_CHUNK", 1)


# -- figures ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (300,), (300, 200), (3, 5, 130), (1, 1)])
def test_rounding_is_right(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    want = drawn(*shape)
    right(want.to(dtype), want)


def test_the_figures() -> None:
    want = torch.full((4, 4), 2.0)
    found = right(want * 1.01, want, Tolerance(rtol=0.02, rel_l2=0.02))
    assert found.rel_l2 == pytest.approx(0.01, rel=1e-4)
    assert found.worst == pytest.approx(0.5, rel=1e-4)
    found = right(want + 0.01, want, Tolerance(atol=0.04))
    assert (found.rel_l2, found.worst) == (pytest.approx(0.005, rel=1e-4), pytest.approx(0.25, rel=1e-4))
    assert right(want, want, EXACT) == Deviation(rel_l2=0.0, worst=0.0)


@pytest.mark.usefixtures("small_chunks")
def test_the_figures_are_of_all_chunks() -> None:
    want = drawn(700, 30)
    got = want.clone()
    got[650, 7] *= 1.01
    got[10, 3] *= 1.005
    found = right(got, want, Tolerance(rtol=0.02, rel_l2=0.02))
    assert found.worst == pytest.approx(0.5)
    assert found.rel_l2 == pytest.approx(float((got - want).norm() / want.norm()))


def test_the_root_mean_square_counts_for_every_element() -> None:
    want = drawn(64, 64)
    scale = float(want.square().mean().sqrt())
    got = want.clone()
    got[5, 5] = want[5, 5] + 0.9 * 2**-6 * scale
    assert right(got, want, Tolerance(rms=2**-6)).worst == pytest.approx(0.9)
    got[5, 5] = want[5, 5] + 1.1 * 2**-6 * scale
    assert "at [5, 5]" in wrong(got, want, Tolerance(rms=2**-6))


# -- elements -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_chunks")
def test_one_wrong_element_in_the_last_row() -> None:
    want = drawn(300, 200)
    got = want.to(torch.bfloat16)
    got[299, 199] = 8.0
    assert wrong(got, want).startswith(f"|o - r| = {8 - float(want[299, 199]):.3g} at [299, 199] (o = 8), over the allowed ")
    # The chunks are of 128 rows: the last one has 44.
    assert wrong(got, want).endswith(f"; 1 of {44 * 200} elements are off")


@pytest.mark.usefixtures("small_chunks")
def test_the_worst_element_of_all_is_named() -> None:
    want = torch.ones(300, 20)
    for rows in ([5, 290], [290, 5]):
        got = want.clone()
        got[rows[0], 2], got[rows[1], 3] = 2.0, 3.0
        assert f"at [{rows[1]}, 3]" in wrong(got, want, Tolerance(rtol=0.1))


def test_outputs_of_many_and_of_no_dimensions() -> None:
    want = drawn(3, 4, 5)
    got = want.clone()
    got[2, 1, 4] += 1.0
    assert "at [9, 4]" in wrong(got, want)
    assert "at [3, 0]" in wrong(torch.tensor([0.0, 1.0, 2.0, 9.0])[:, None][:, 0][:, None], torch.arange(4.0)[:, None])
    assert "at [0, 0]" in wrong(torch.tensor(1.0), torch.tensor(2.0))


def test_exact_means_exact() -> None:
    want = drawn(40, 40, dtype=torch.bfloat16)
    right(want.clone(), want.double(), EXACT)
    for value in (1.0, 1e-30, 0.0):
        reference = torch.full((3, 3), value, dtype=torch.float32)
        got = reference.clone()
        got[2, 1] = torch.nextafter(got[2, 1], torch.tensor(9.0)) if value else 1e-37
        assert "at [2, 1]" in wrong(got, reference, EXACT)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_integers_that_fp32_cannot_hold(dtype: torch.dtype) -> None:
    want = torch.tensor([[2**24, 2**30 - 1], [7, -(2**24)]], dtype=dtype)
    right(want.clone(), want, EXACT)
    for row, column in ((0, 0), (0, 1), (1, 1)):
        got = want.clone()
        got[row, column] += 1
        assert f"at [{row}, {column}]" in wrong(got, want, EXACT)


def test_small_integers_do_not_wrap_around() -> None:
    assert "at [0, 0]" in wrong(torch.tensor([127], dtype=torch.int8), torch.tensor([-128], dtype=torch.int8), EXACT)
    assert "at [0, 0]" in wrong(torch.tensor([0], dtype=torch.uint8), torch.tensor([255], dtype=torch.uint8), EXACT)
    assert "at [1, 0]" in wrong(torch.tensor([True, True])[:, None], torch.tensor([True, False])[:, None], EXACT)


def test_tiny_and_huge_values() -> None:
    for scale in (1e-30, 1e30):
        want = drawn(300, 200) * scale
        found = right(want.to(torch.bfloat16), want)
        assert found.rel_l2 == pytest.approx(1.6e-3, rel=0.1) or scale < 1
        assert "at [" in wrong((want * 1.1).to(torch.bfloat16), want)


# -- NaN and infinities -------------------------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("o", "r", "sentence"),
    [
        (NAN, 1.0, "nan at [280, 7] where the reference is 1 (1 such elements); perhaps it was never written"),
        (1.0, NAN, "1 at [280, 7] where the reference is nan (1 such elements)"),
        (INF, 1.0, "inf at [280, 7] where the reference is 1 (1 such elements)"),
        (1.0, INF, "1 at [280, 7] where the reference is inf (1 such elements)"),
        (-INF, INF, "-inf at [280, 7] where the reference is inf (1 such elements)"),
        (NAN, INF, "nan at [280, 7] where the reference is inf (1 such elements); perhaps it was never written"),
        (INF, NAN, "inf at [280, 7] where the reference is nan (1 such elements)"),
    ],
)
def test_masks_of_nan_and_infinity(dtype: torch.dtype, o: float, r: float, sentence: str) -> None:
    want = drawn(300, 20)
    got = want.to(dtype)
    # The same in both, so that the differing element is not the only special one.
    got[280, 3] = want[280, 3] = NAN
    got[280, 4] = want[280, 4] = -INF
    right(got, want)
    got[280, 7], want[280, 7] = o, r
    found = deviation(got, want, LOOSE)
    assert found.wrong == sentence
    assert found.worst == found.rel_l2 == INF


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_elements_beside_a_special_one_are_still_held(special: float) -> None:
    want = drawn(50, 50)
    want[3, 3] = special
    got = want.clone()
    got[49, 49] += 1.0
    assert "at [49, 49]" in wrong(got, want)
    got = want * 1.01
    assert wrong(got, want).startswith("relative error 1.00e-02")


@pytest.mark.parametrize(("dtype", "beyond"), [(torch.float16, 7e4), (torch.float32, 1e39), (torch.bfloat16, 1e39)])
def test_a_reference_beyond_the_dtype_is_infinite(dtype: torch.dtype, beyond: float) -> None:
    want = drawn(20, 20)
    want[1, 2], want[3, 4] = beyond, -beyond
    right(want.to(dtype), want)
    for row, column, value in ((1, 2, -INF), (1, 2, 6e4), (1, 2, NAN), (3, 4, INF), (0, 0, INF)):
        got = want.to(dtype)
        got[row, column] = value
        assert f"at [{row}, {column}]" in wrong(got, want)


# -- all together and tiles ---------------------------------------------------------------------------------------------------


def test_an_error_everywhere() -> None:
    want = drawn(300, 300)
    right(want * 1.007, want)
    assert wrong(want * 1.01, want) == "relative error 1.00e-02, over the tolerance of 8.00e-03"
    # Nothing is said about averages where there is no such tolerance.
    right(want * 1.01, want, Tolerance(rtol=2**-6))


@pytest.mark.parametrize("chunk", [1, 2**20])
@pytest.mark.parametrize(
    ("rows", "columns", "row", "column"), [(1024, 512, 256, 384), (1024, 512, 896, 0), (1000, 500, 896, 384)]
)
def test_one_bad_tile_in_a_large_tensor(
    rows: int, columns: int, row: int, column: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distances, "_CHUNK", chunk)
    want = drawn(rows, columns, dtype=torch.float32)
    got = want.clone()
    got[row : row + 128, column : column + 128] *= 1.03
    loose = Tolerance(rtol=0.05, rel_l2=8e-3)
    assert deviation(got, want, loose.replace(rel_l2=None)).rel_l2 < 8e-3
    assert wrong(got, want, loose) == f"relative error 3.00e-02 in the 128 x 128 tile at [{row}, {column}]"
    got = want.clone()
    got[row : row + 128, column : column + 128] *= 1.01
    right(got, want, loose)


def test_a_tile_that_was_left_out_of_a_sum() -> None:
    """Two of a thousand terms are missing in one tile: small beside the tensor, and each element within its bound."""
    want = drawn(512, 512, dtype=torch.float32)
    got = want.clone()
    got[:128, :128] += 0.02 * drawn(128, 128, dtype=torch.float32, seed=1).clamp(-0.7, 0.7)
    assert wrong(got, want, Tolerance(rms=2**-6, rel_l2=4e-3)).endswith("in the 128 x 128 tile at [0, 0]")


def test_a_second_bad_tile_behind_one_that_is_excused() -> None:
    loose = Tolerance(rtol=0.05, rel_l2=8e-3)
    want = drawn(128, 256, dtype=torch.float32)
    # One element is the whole norm of the first tile, and 3 % off, which its own bound allows.
    want[0, 0] = 1e4
    got = want.clone()
    got[0, 0] *= 1.03
    right(got, want, loose)
    got[:, 128:] *= 1.03
    assert "tile at [0, 128]" in wrong(got, want, loose)


def test_noise_in_a_tile_of_zeros_is_bounded_by_its_elements() -> None:
    want = drawn(256, 256, dtype=torch.float32)
    want[128:, :128] = 0.0
    got = want.clone()
    got[128:, :128] = 0.01
    right(got, want)
    got[200, 100] = 0.1
    assert "at [200, 100]" in wrong(got, want)
    right(torch.full((9, 9), 0.5), torch.zeros(9, 9), Tolerance(atol=1.0, rel_l2=1e-3))


def test_a_tile_of_few_elements_may_be_near_zero() -> None:
    tolerance = Tolerance(rtol=1e-2, rms=5e-2, rel_l2=1e-2)
    want = drawn(1, 129)
    want[0, 128] = 1e-4
    got = want.clone()
    got[0, 128] += 0.03
    right(got, want, tolerance)
    got[0, 128] += 0.03
    assert "at [0, 128]" in wrong(got, want, tolerance)


def test_few_elements_average_no_rounding_away() -> None:
    off = 1.0 + 2**-8  # one rounding to bf16, twice the relative tolerance
    tight = Tolerance(rtol=2**-7, rel_l2=2**-9)
    for shape in ((1, 1), (1, 200)):
        right(torch.full(shape, off), torch.ones(shape), tight)
    assert wrong(torch.full((16, 16), off), torch.ones(16, 16), tight).startswith("relative error 3.91e-03")
    # Many elements, and one that dwarfs them.
    want = torch.ones(30, 30)
    want[3, 3] = 1e4
    got = want.clone()
    got[3, 3] *= off
    right(got, want, tight)
    assert "at [3, 3]" in wrong(want.clone().fill_(1.0), want, tight)


# -- quantised codes ----------------------------------------------------------------------------------------------------------

SHARE = Tolerance(codes_off=0.005)


def codes(dtype: torch.dtype, *values: int, count: int = 1000) -> Tensor:
    """Zeros, and these codes in front."""
    raw = torch.zeros(count, dtype=torch.uint8)
    raw[: len(values)] = torch.tensor(values, dtype=torch.uint8)
    return raw.view(dtype).view(10, -1)


@pytest.mark.parametrize("dtype", FP8)
def test_codes_one_apart_are_right_where_they_are_few(dtype: torch.dtype) -> None:
    want = codes(dtype, 10, 20, 0x81, 40, 50, 60)
    found = right(codes(dtype, 11, 19, 0x82, 40, 50, 60), want, SHARE)
    assert found.worst == pytest.approx(0.6)
    assert found.rel_l2 == pytest.approx(
        float((codes(dtype, 11, 19, 0x82, 40, 50, 60).float() - want.float()).norm() / want.float().norm())
    )
    assert right(want.clone(), want, SHARE) == Deviation(rel_l2=0.0, worst=0.0)
    text = wrong(codes(dtype, 11, 21, 0x82, 41, 51, 61), want, SHARE)
    assert text == "0.60 % of the codes differ from the reference; at most 0.5 % may"


@pytest.mark.parametrize("dtype", FP8)
def test_a_wrong_code_far_down_is_named(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_CHUNK", 1)
    want = torch.zeros(300, 40, dtype=torch.uint8)
    got = want.clone()
    got[259, 7] = 9
    assert wrong(got.view(dtype), want.view(dtype), SHARE).startswith("code 9 steps from the reference at [259, 7]")


@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize(("code", "other", "steps"), [(10, 12, 2), (0x90, 0x8E, 2), (1, 0x81, 2), (0x70, 0xF0, 224)])
def test_codes_two_apart_are_wrong(dtype: torch.dtype, code: int, other: int, steps: int) -> None:
    sentence = f"code {steps} steps from the reference at [0, 1]; at most one step is allowed"
    assert wrong(codes(dtype, 5, other), codes(dtype, 5, code), SHARE) == sentence
    assert wrong(codes(dtype, 5, code), codes(dtype, 5, other), SHARE) == sentence


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_both_zeros_are_one_code(dtype: torch.dtype) -> None:
    assert right(codes(dtype, 0x80, 1), codes(dtype, 0, 1), SHARE).worst == 0.0


@pytest.mark.parametrize(
    ("dtype", "code", "beside", "shown"),
    [
        (torch.float8_e4m3fn, 0x7F, 0x7E, "nan at [0, 1] where the reference is 448"),
        (torch.float8_e4m3fn, 0xFF, 0xFE, "nan at [0, 1] where the reference is -448"),
        (torch.float8_e4m3fnuz, 0x80, 0x00, "nan at [0, 1] where the reference is 0"),
        (torch.float8_e4m3fnuz, 0x80, 0x01, "nan at [0, 1] where the reference is 0.000976562"),
        (torch.float8_e5m2, 0x7C, 0x7B, "inf at [0, 1] where the reference is 57344"),
        (torch.float8_e5m2, 0x7D, 0x7C, "nan at [0, 1] where the reference is inf"),
    ],
)
def test_nan_and_infinity_are_no_neighbours(dtype: torch.dtype, code: int, beside: int, shown: str) -> None:
    assert wrong(codes(dtype, 5, code), codes(dtype, 5, beside), SHARE).startswith(shown)
    assert "at [0, 1]" in wrong(codes(dtype, 5, beside), codes(dtype, 5, code), SHARE)
    right(codes(dtype, 5, code), codes(dtype, 5, code), SHARE)


def test_codes_of_another_encoding() -> None:
    got, want = codes(torch.float8_e4m3fnuz, 1), codes(torch.float8_e4m3fn, 1)
    assert wrong(got, want, SHARE) == "dtype fp8_e4m3fnuz, not fp8_e4m3"


# -- nothing is changed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("special", [None, NAN, INF])
@pytest.mark.parametrize(
    ("got_dtype", "want_dtype"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float64),
        (torch.float16, torch.float32),
        (torch.int32, torch.int64),
        (torch.float8_e4m3fn, torch.float8_e4m3fn),
    ],
)
@pytest.mark.parametrize("off", [0.0, 1.0])
def test_comparing_changes_neither_side(
    got_dtype: torch.dtype, want_dtype: torch.dtype, special: float | None, off: float
) -> None:
    values = (drawn(130, 140) * 10).clamp(-100, 100)
    got, want = (values + off).to(got_dtype), values.to(want_dtype)
    if special is not None and got.dtype.is_floating_point and got.itemsize > 1:
        got[1, 1] = want[1, 1] = special
    inputs = {"x": drawn(4, 4)}
    before = [value.clone() for value in (got, want, inputs["x"])]
    for tolerance in (LOOSE, EXACT, Tolerance(atol=3.0, rel_l2=0.5), Tolerance(codes_off=0.1)):
        if not tolerance.codes_off or got.itemsize == 1:
            deviation(got, want, tolerance)
            compare_quietly(tolerance, inputs, got, want)
    assert all(same(after, kept) for after, kept in zip((got, want, inputs["x"]), before, strict=True))


def compare_quietly(tolerance: Tolerance, inputs: dict[str, Tensor], got: Tensor, want: Tensor) -> None:
    try:
        compare(Judge({"out": tolerance}), inputs, {"out": got}, {"out": want}, {"out": 1e-9})
    except Wrong:
        return


# -- compare ------------------------------------------------------------------------------------------------------------------


@dataclass
class Judge:
    tolerance: dict[str, Tolerance] = field(default_factory=dict)
    verdict: str | None = None

    def flaw(self, inputs: Any, got: Any, want: Any) -> str | None:
        return self.verdict


def test_compare_names_the_output() -> None:
    want = {"a": torch.ones(3), "b": torch.ones(3)}
    found = compare(Judge({"a": LOOSE}), {}, {"a": want["a"] * 1.001, "b": want["b"].clone()}, want)
    assert list(found) == ["a", "b"] and found["a"].rel_l2 == pytest.approx(1e-3, rel=1e-3)
    # What no tolerance is given for is exact.
    with pytest.raises(Wrong, match="^output 'b' is wrong: "):
        compare(Judge({"a": LOOSE}), {}, {"a": want["a"].clone(), "b": want["b"] * 1.001}, want)


def test_outputs_with_several_right_answers_are_judged_alone() -> None:
    want, got = {"a": torch.ones(3)}, {"a": torch.zeros(3)}
    judged = {"a": Tolerance(judged=True)}
    assert compare(Judge(judged), {}, got, want) == {}
    with pytest.raises(Wrong, match="^this is why$"):
        compare(Judge(judged, "this is why"), {}, got, want)
    with pytest.raises(Wrong, match="^this is why$"):
        compare(Judge({"a": LOOSE}, "this is why"), {}, want, want)


def test_twice_as_far_as_torch() -> None:
    judge, want = Judge({"a": LOOSE}), {"a": drawn(300, 300)}
    got = {"a": want["a"] * 1.006}
    for peer in (None, {}, {"b": 1e-9}, {"a": 3.1e-3}):
        compare(judge, {}, got, want, peer)
    sentence = r"output 'a' is wrong: relative error 6.00e-03, more than 2x that of torch in the same dtype \(2.90e-03\)"
    with pytest.raises(Wrong, match=sentence):
        compare(judge, {}, got, want, {"a": 2.9e-3})
    # Below a quarter of the tolerance both are rounding.
    compare(judge, {}, {"a": want["a"] * 1.0019}, want, {"a": 1e-9})
    with pytest.raises(Wrong, match="more than 2x"):
        compare(judge, {}, {"a": want["a"] * 1.0021}, want, {"a": 1e-9})
    # Without a relative tolerance there is nothing to hold it against.
    compare(Judge({"a": Tolerance(rtol=0.1)}), {}, got, want, {"a": 1e-9})


def test_torch_is_no_measure_where_right_kernels_round_and_it_does_not() -> None:
    want = {"a": torch.ones(300, 4)}
    measured = Judge({"a": Tolerance(rms=1.0, rel_l2=4e-2)})
    alone = Judge({"a": Tolerance(rms=1.0, rel_l2=4e-2, peer=False)})
    with pytest.raises(Wrong, match="more than 2x that of torch"):
        compare(measured, {}, {"a": want["a"] * 1.03}, want, {"a": 1e-4})
    compare(alone, {}, {"a": want["a"] * 1.03}, want, {"a": 1e-4})
    with pytest.raises(Wrong, match="relative error"):
        compare(alone, {}, {"a": want["a"] * 1.05}, want, {"a": 1e-4})


# -- named --------------------------------------------------------------------------------------------------------------------

ONE = {"out": Spec(shape=(2, 3), dtype="bf16")}
TWO = {**ONE, "scale": Spec(shape=(2,), dtype="fp32")}
GOOD = torch.zeros(2, 3, dtype=torch.bfloat16)


def test_outputs_get_their_names() -> None:
    scale = torch.zeros(2)
    assert list(named(GOOD, ONE, "cpu")) == ["out"] and named(GOOD, ONE, "cpu")["out"] is GOOD
    assert named((GOOD, scale), TWO, "cpu")["scale"] is named([GOOD, scale], TWO, "cpu")["scale"] is scale
    assert "out" in named(torch.nn.Parameter(GOOD), ONE, "cpu")
    assert "out" in named(GOOD.float(), ONE, "cpu", exact_dtype=False)


class Lazy(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("outputs", "specs", "sentence"),
    [
        (None, ONE, "returned nothing; expected 1: out"),
        (None, TWO, "returned nothing; expected 2: out, scale"),
        ((), ONE, "returned 0 outputs; expected 1: out"),
        (GOOD, TWO, "returned 1 output; expected 2: out, scale"),
        ((GOOD, GOOD, GOOD), TWO, "returned 3 outputs; expected 2: out, scale"),
        ({"out": GOOD}, ONE, "output 'out' is a dict; expected a torch.Tensor with storage of its own"),
        (3.0, ONE, "output 'out' is a float"),
        ((GOOD, None), TWO, "output 'scale' is a NoneType"),
        (GOOD.as_subclass(Lazy), ONE, "output 'out' is a Lazy"),
        (GOOD.to("meta"), ONE, "output 'out' is on meta; expected cpu"),
        (GOOD.T, ONE, r"output 'out' has shape \[3, 2\]; expected \[2, 3\]"),
        (GOOD.float(), ONE, "output 'out' has dtype fp32; expected bf16"),
        (torch.zeros(2, 3, dtype=torch.complex64), ONE, "output 'out' has dtype complex64; expected bf16"),
    ],
)
def test_outputs_that_are_not_the_operators(outputs: Any, specs: dict[str, Spec], sentence: str) -> None:
    with pytest.raises(Wrong, match=f"^{sentence}"):
        named(outputs, specs, "cpu")


# -- same bits ----------------------------------------------------------------------------------------------------------------


def test_same_bits() -> None:
    values = torch.tensor([[1.0, NAN], [-0.0, INF]])
    assert same(values, values.clone()) and same(values.T, values.clone().T) and same(values.T, values.T.contiguous())
    assert same(torch.tensor(NAN), torch.tensor(NAN)) and same(torch.tensor([True]), torch.tensor([True]))
    assert not same(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same(torch.zeros(2), torch.zeros(2, dtype=torch.int32))
    assert not same(torch.zeros(2, 3), torch.zeros(3, 2))
    assert not same(values, values.T)
    assert same(torch.ones(1).expand(5), torch.ones(5))


# -- watching a provider ------------------------------------------------------------------------------------------------------

ALLOCATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "empty": lambda x: torch.empty(x.shape, dtype=x.dtype),
    "empty_like": torch.empty_like,
    "new_empty": lambda x: x.new_empty(x.shape),
    "empty_strided": lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, *FP8])
@pytest.mark.parametrize("how", ALLOCATIONS)
def test_what_a_provider_allocates_is_poisoned_and_guarded(how: str, dtype: torch.dtype) -> None:
    guarded = Guarded()
    watch = Watch(guarded)
    x = torch.zeros(5, 7, dtype=dtype)
    with watch:
        out = ALLOCATIONS[how](x)
    assert type(out) is Tensor and out.shape == x.shape and out.dtype == dtype
    assert bool(out.float().isnan().all())
    assert guarded.broken() is None
    out.as_strided((36,), (1,)).view(torch.uint8)[35 * out.itemsize] = 1
    assert guarded.broken() == "an output it allocated"


def test_integers_are_poisoned_with_a_pattern() -> None:
    with Watch(Guarded()):
        out = torch.empty(3, dtype=torch.int32)
    assert out.tolist() == [int.from_bytes(b"\xa5" * 4, "little", signed=True)] * 3


def test_an_output_that_is_resized_is_left_to_torch() -> None:
    guarded = Guarded()
    with Watch(guarded):
        out = torch.empty(0)
        torch.mm(torch.ones(3, 3), torch.ones(3, 3), out=out)
    assert guarded.broken() is None and out.tolist() == [[3.0] * 3] * 3


def test_dispatched_operations_are_listed_once_in_order() -> None:
    watch = Watch(Guarded())
    with watch:
        (torch.ones(3) * 2 + 1) * 3
    assert list(watch.seen) == ["aten.ones", "aten.mul", "aten.add"]
