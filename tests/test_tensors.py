"""Input tensors: what their values depend on, the guards around them, and that no two rows are the same."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402

from pytest_dsbench import tensors  # noqa: E402
from pytest_dsbench.check import same  # noqa: E402
from pytest_dsbench.operators import find  # noqa: E402
from pytest_dsbench.tensors import GUARD, POISON, Guarded, Maker, make, our_dtype, seed, torch_dtype  # noqa: E402
from pytest_dsbench.units import DTYPES, nbytes  # noqa: E402

RMS = find("rms_norm")
MM = find("block_scaled_mm")
#: A prime far below the sizes used here, so that drawn blocks are repeated.
PRIME = 1009


@pytest.fixture
def small_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_BLOCK", PRIME)


# -- what values depend on ----------------------------------------------------------------------------------------------------


def test_seeds_are_those_of_operator_dimensions_and_content() -> None:
    op = RMS.build({"tokens": 3, "hidden": 8})
    # As written on disk by an earlier process: nothing of this process may enter.
    assert seed(op, 0) == 3894504416 and seed(op, 1) != seed(op, 0)
    assert seed(RMS.build({"tokens": 3, "hidden": 8, "dtype": "bf16"}), 0) == seed(op, 0)
    others = [RMS.build({"tokens": 4, "hidden": 8}), RMS.build({"tokens": 3, "hidden": 8, "dtype": "fp16"})]
    others.append(find("layer_norm").build({"tokens": 3, "hidden": 8}))
    assert len({seed(one, 0) for one in [op, *others]}) == 4


def test_the_same_seed_gives_the_same_values() -> None:
    op = MM.build({"m": 3, "n": 256, "k": 256})
    torch.manual_seed(1)
    first = make(op, "cpu")
    torch.manual_seed(2)
    torch.randn(5)
    second, other = make(op, "cpu"), make(op, "cpu", content=1)
    assert list(first) == ["a", "b", "a_scales", "b_scales"]
    for name, value in first.items():
        assert same(value, second[name])
        assert not same(value, other[name])


def test_drawing_leaves_torchs_own_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    make(RMS.build({"tokens": 3, "hidden": 8}), "cpu")
    assert torch.equal(torch.randn(3), expected)


def test_values_are_as_asked_for() -> None:
    maker = Maker(1, "cpu")
    normal = maker.normal((300, 300), "fp32", std=0.5, mean=2.0)
    assert float(normal.mean()) == pytest.approx(2.0, abs=0.01) and float(normal.std()) == pytest.approx(0.5, rel=0.02)
    uniform = maker.uniform((300, 300), "fp32", low=-3.0, high=1.0)
    assert -3.0 <= float(uniform.min()) < -2.99 and 0.99 < float(uniform.max()) < 1.0
    integers = maker.integers((300, 300), "int32", high=5, low=-2)
    assert set(integers.flatten().tolist()) == {-2, -1, 0, 1, 2, 3, 4}
    assert maker.values([0, 720, 1920], "int32").tolist() == [0, 720, 1920]
    assert [one.dtype for one in (normal, integers)] == [torch.float32, torch.int32]
    # Two tensors of one content are drawn one after the other.
    assert not torch.equal(maker.normal((4,), "fp32"), maker.normal((4,), "fp32"))


# -- recipes ------------------------------------------------------------------------------------------------------------------


def test_recipes() -> None:
    zeros = Maker(1, "cpu", "zeros").normal((3, 8), "bf16", mean=5.0)
    assert not zeros.any()
    plain, huge = (Maker(1, "cpu", recipe).normal((3, 8), "fp32") for recipe in ("random", "huge_channel"))
    assert torch.equal(huge[:, 4], plain[:, 4] * 1000)
    others = [column for column in range(8) if column != 4]
    assert torch.equal(huge[:, others], plain[:, others])
    # A vector, such as a weight, has no channels.
    plain, huge = (Maker(1, "cpu", recipe).normal((8,), "fp32") for recipe in ("random", "huge_channel"))
    assert torch.equal(huge, plain)


# -- large tensors ------------------------------------------------------------------------------------------------------------


def test_the_block_is_prime() -> None:
    number = tensors._BLOCK
    assert all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def rows_alike(value: Tensor) -> bool:
    return len(torch.unique(value.float().view(-1, value.shape[-1]), dim=0)) < value.numel() // value.shape[-1]


@pytest.mark.usefixtures("small_block")
@pytest.mark.parametrize("columns", [64, 100, 128, 1000, 1024])
def test_no_two_rows_of_a_large_tensor_are_the_same(columns: int) -> None:
    rows = 500
    value = Maker(1, "cpu").normal((rows, columns), "fp32")
    assert not rows_alike(value)
    flat = value.view(-1)
    assert torch.equal(flat[PRIME : 2 * PRIME], flat[:PRIME])
    assert float(value.std()) == pytest.approx(1.0, rel=0.1)
    assert not rows_alike(Maker(1, "cpu").uniform((rows, columns), "fp32"))
    assert not rows_alike(Maker(1, "cpu").integers((rows, columns), "int32", high=10**6))


@pytest.mark.usefixtures("small_block")
@pytest.mark.parametrize("block", [(16, 32), (1, 32), (128, 64)])
def test_no_two_rows_of_large_codes_are_the_same(block: tuple[int, int]) -> None:
    codes, scales = Maker(1, "cpu").quantised((256, 64), "fp8_e4m3", block)
    assert not rows_alike(codes)
    values = codes.float() * scales.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    # The values are those of one draw, repeated: whatever the number of pieces they were made in.
    draw = torch.randn(PRIME, generator=torch.Generator().manual_seed(1))
    expected = draw.repeat(256 * 64 // PRIME + 1)[: 256 * 64].view(256, 64)
    largest = expected.view(256 // block[0], block[0], 64 // block[1], block[1]).abs().amax((1, 3))
    assert torch.equal(scales, largest / 448)
    assert float((values - expected).abs().max()) <= float(scales.max()) * 16


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 700))
def test_blocks_fill_tensors_of_any_size(count: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_BLOCK", block)
        value = Maker(3, "cpu").normal((count,), "fp32")
    draw = torch.randn(min(count, block), generator=torch.Generator().manual_seed(3))
    assert torch.equal(value, draw.repeat(count // len(draw) + 1)[:count])


# -- guards -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["fp64", "fp32", "bf16", "fp8_e4m3", "fp8_e4m3fnuz", "int8", "bool"])
@pytest.mark.parametrize("at", [0, GUARD - 1, -1, -GUARD])
def test_a_stray_byte_on_either_side_is_seen(dtype: str, at: int) -> None:
    guarded = Guarded()
    guarded.empty((2,), torch.int8, "cpu", "first")
    value = guarded.empty((3, 5), torch_dtype(dtype), "cpu", "second")
    guarded.empty((2,), torch.int8, "cpu", "third")
    assert value.is_contiguous() and value.shape == (3, 5) and value.data_ptr() % value.itemsize == 0
    value.zero_()
    assert guarded.broken() is None
    whole = guarded._buffers[1][1]
    assert whole.numel() == value.nbytes + 2 * GUARD
    whole[at] = 0
    assert guarded.broken() == "second"
    whole[at] = POISON
    assert guarded.broken() is None


def test_nothing_guarded_is_not_broken() -> None:
    assert Guarded().broken() is None


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype not in ("fp4_e2m1", "bool")])
def test_poison(dtype: str) -> None:
    value = Guarded().empty((7,), torch_dtype(dtype), "cpu", "x", poison=True)
    if value.dtype.is_floating_point:
        assert bool(value.float().isnan().all())
    else:
        assert set(value.view(torch.uint8).tolist()) == {POISON}


def test_inputs_are_guarded() -> None:
    guarded = Guarded()
    inputs = make(MM.build({"m": 3, "n": 256, "k": 256}), "cpu", guarded=guarded)
    assert len(guarded._buffers) == len(inputs) == 4
    value = inputs["b_scales"]
    value.as_strided((1,), (1,), value.storage_offset() + value.numel()).fill_(1.0)
    assert guarded.broken() == "an input"


# -- the meta device ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("rms_norm", {"tokens": 2**20, "hidden": 2**20}),
        ("block_scaled_mm", {"m": 2**20, "n": 2**20, "k": 2**20}),
        ("attention_forward", {"heads": 2**10, "head_dim": 2**10, "seq_lens": [2**20, 2**19]}),
        ("moe_topk_gating_softmax", {"tokens": 2**30, "experts": 2**10, "top_k": 2}),
    ],
)
def test_on_the_meta_device_nothing_is_allocated(name: str, dims: dict[str, object]) -> None:
    op = find(name).build(dims)
    inputs = make(op, "meta")
    assert {value.device.type for value in inputs.values()} == {"meta"}
    small = make(find(name).build({key: [3, 4] if key == "seq_lens" else 128 for key in dims}), "cpu")
    assert {key: (value.dtype, value.dim()) for key, value in inputs.items()} == {
        key: (value.dtype, value.dim()) for key, value in small.items()
    }


def test_meta_tensors_of_every_kind() -> None:
    maker = Maker(0, "meta")
    made = [
        maker.normal((2, 3), "bf16"),
        maker.uniform((2, 3), "fp32"),
        maker.integers((2, 3), "int64", 5),
        maker.values([1], "int32"),
    ]
    codes, scales = maker.quantised((4, 4), "fp8_e4m3", (2, 2))
    assert [tuple(value.shape) for value in (*made, codes, scales)] == [(2, 3), (2, 3), (2, 3), (1,), (4, 4), (2, 2)]


# -- names of dtypes ----------------------------------------------------------------------------------------------------------


def test_names_of_dtypes() -> None:
    for dtype in DTYPES:
        expected = "uint8" if dtype == "fp4_e2m1" else dtype
        assert our_dtype(torch_dtype(dtype)) == expected
        assert torch_dtype(dtype).itemsize == nbytes(expected, 1)
    assert our_dtype(torch.complex64) == "complex64"
