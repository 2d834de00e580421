"""The table of operations: every entry against a call whose dimensions are known, and tables that cannot be used."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from trace_made import BF16, NONE, scalar, tensor

import pytest_dsbench.trace
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operators import find
from pytest_dsbench.trace.events import Signature
from pytest_dsbench.trace.mapping import Mapping, scope

FP8, FLOAT, INT, LONG = "c10::Float8_e4m3fn", "float", "int", "long int"
TABLE = Path(pytest_dsbench.trace.__file__).parent / "mapping.toml"


def signature(name: str, *inputs: tuple[Any, str, str]) -> Signature:
    dims, types, values = zip(*inputs, strict=True) if inputs else ((), (), ())
    return Signature(name=name, dims=dims, types=types, values=values)


def q8(*sizes: int) -> tuple[Any, str, str]:
    return tensor(*sizes, kind=FP8)


def f32(*sizes: int) -> tuple[Any, str, str]:
    return tensor(*sizes, kind=FLOAT)


def i32(*sizes: int) -> tuple[Any, str, str]:
    return tensor(*sizes, kind=INT)


SIZES = ([], "ScalarList", "[64]")
TRUE, FALSE = scalar("True"), scalar("False")
QKV = [tensor(2, 4, 24, 16)] * 3

#: Calls as the libraries make them, and what they are.
CALLS: list[tuple[str, list[tuple[Any, str, str]], str, dict[str, Any]]] = [
    ("aten::linear", [tensor(2, 5, 64), tensor(96, 64), NONE], "matmul", {"m": 10, "n": 96, "k": 64}),
    ("aten::linear", [tensor(64), tensor(96, 64), tensor(96)], "matmul", {"m": 1, "n": 96, "k": 64}),
    ("aten::mm", [tensor(10, 64), tensor(64, 96)], "matmul", {"m": 10, "n": 96, "k": 64}),
    ("aten::addmm", [tensor(96), tensor(10, 64), tensor(64, 96)], "matmul", {"m": 10, "n": 96, "k": 64}),
    ("aten::matmul", [tensor(2, 5, 64), tensor(64, 96)], "matmul", {"m": 10, "n": 96, "k": 64}),
    ("aten::bmm", [tensor(1, 10, 64), tensor(1, 64, 96)], "matmul", {"m": 10, "n": 96, "k": 64}),
    (
        "aten::_scaled_mm",
        [q8(10, 256), q8(256, 128), f32(), f32(), NONE, NONE, scalar("15"), TRUE],
        "bmm_fp8",
        {"batch": 1, "m": 10, "n": 128, "k": 256, "out_dtype": "bf16"},
    ),
    (
        "aten::_scaled_mm",
        [q8(10, 256), q8(256, 128), f32(1), f32(1), NONE, NONE, scalar("5"), TRUE],
        "bmm_fp8",
        {"batch": 1, "m": 10, "n": 128, "k": 256, "out_dtype": "fp16"},
    ),
    (
        "aten::_scaled_mm",
        [q8(10, 512), q8(512, 256), f32(10, 4), f32(4, 2), NONE, NONE, scalar("15"), TRUE],
        "block_scaled_mm",
        {"m": 10, "n": 256, "k": 512, "out_dtype": "bf16"},
    ),
    (
        "sgl_kernel::fp8_blockwise_scaled_mm",
        [q8(10, 512), q8(512, 256), f32(10, 4), f32(4, 2), scalar("15")],
        "block_scaled_mm",
        {"m": 10, "n": 256, "k": 512, "out_dtype": "bf16"},
    ),
    (
        # The last block of its columns is cut: 130 are 128 and 2, not two of 65.
        "sgl_kernel::fp8_blockwise_scaled_mm",
        [q8(10, 512), q8(512, 130), f32(10, 4), f32(4, 2), scalar("15")],
        "block_scaled_mm",
        {"m": 10, "n": 130, "k": 512, "out_dtype": "bf16"},
    ),
    (
        "sgl_kernel::fp8_blockwise_scaled_mm",
        [q8(10, 512), q8(512, 256), f32(10, 4), f32(4, 2), scalar("5")],
        "block_scaled_mm",
        {"m": 10, "n": 256, "k": 512, "out_dtype": "fp16"},
    ),
    (
        "sgl_kernel::bmm_fp8",
        [q8(3, 10, 256), q8(3, 256, 128), tensor(3, 10, 128), f32(1), f32(1)],
        "bmm_fp8",
        {"batch": 3, "m": 10, "n": 128, "k": 256},
    ),
    ("sgl_kernel::dsv3_router_gemm", [f32(7, 256), tensor(7, 7168), tensor(256, 7168)], "dsv3_router_gemm", {"tokens": 7}),
    ("sgl_kernel::dsv3_fused_a_gemm", [tensor(7, 2112), tensor(7, 7168), tensor(7168, 2112)], "dsv3_fused_a_gemm", {"tokens": 7}),
    (
        "sgl_kernel::cutlass_scaled_fp4_mm",
        [tensor(32, 64), tensor(32, 128, kind="unsigned char"), tensor(64, 128, kind="unsigned char"), q8(), q8(), f32(1)],
        "scaled_fp4_mm",
        {"m": 32, "n": 64, "k": 256},
    ),
    (
        "aten::rms_norm",
        [tensor(2, 5, 64), SIZES, tensor(64), scalar("1e-05")],
        "rms_norm",
        {"tokens": 10, "hidden": 64, "eps": 1e-5},
    ),
    ("aten::_fused_rms_norm", [tensor(10, 64), SIZES, tensor(64), NONE], "rms_norm", {"tokens": 10, "hidden": 64}),
    (
        "sgl_kernel::rmsnorm",
        [tensor(10, 64), tensor(10, 64), tensor(64), scalar("9.9999999999999995e-07"), FALSE],
        "rms_norm",
        {"tokens": 10, "hidden": 64},
    ),
    ("_C::rms_norm", [tensor(10, 64), tensor(10, 64), tensor(64), scalar("1e-06")], "rms_norm", {"tokens": 10, "hidden": 64}),
    (
        "sgl_kernel::fused_add_rmsnorm",
        [tensor(10, 64), tensor(10, 64), tensor(64), scalar("1e-06"), FALSE],
        "fused_add_rms_norm",
        {"tokens": 10, "hidden": 64},
    ),
    (
        "aten::layer_norm",
        [tensor(2, 5, 64), SIZES, tensor(64), tensor(64), scalar("1.0000000000000001e-05"), TRUE],
        "layer_norm",
        {"tokens": 10, "hidden": 64},
    ),
    ("_C::silu_and_mul", [tensor(10, 64), tensor(10, 128)], "silu_and_mul", {"tokens": 10, "hidden": 64}),
    (
        "aten::scaled_dot_product_attention",
        [*QKV, NONE, scalar("0."), FALSE, NONE, FALSE],
        "attention_forward",
        {"heads": 4, "head_dim": 16, "seq_lens": [24, 24]},
    ),
    (
        "aten::_scaled_dot_product_flash_attention",
        [*QKV, scalar("0."), FALSE, FALSE, NONE],
        "attention_forward",
        {"heads": 4, "head_dim": 16, "seq_lens": [24, 24]},
    ),
    (
        "aten::_scaled_dot_product_efficient_attention",
        [*QKV, NONE, FALSE, scalar("0."), FALSE, NONE],
        "attention_forward",
        {"heads": 4, "head_dim": 16, "seq_lens": [24, 24]},
    ),
    ("sgl_kernel::concat_mla_k", [tensor(10, 128, 192), tensor(10, 128, 128), tensor(10, 1, 64)], "concat_mla_k", {"tokens": 10}),
    (
        "_C_cache_ops::reshape_and_cache_flash",
        [*[tensor(12, 8, 64)] * 2, *[tensor(99, 32, 8, 64)] * 2, tensor(10, kind=LONG), scalar("auto"), f32(1), f32(1)],
        "reshape_and_cache",
        {"tokens": 10, "heads": 8, "head_dim": 64, "page_size": 32},
    ),
    (
        "sgl_kernel::apply_rope_pos_ids_cos_sin_cache",
        [*[tensor(10, 16, 64), tensor(10, 1, 64)] * 2, f32(4096, 64), tensor(10, kind=LONG), TRUE],
        "rope_inplace",
        {"tokens": 10, "q_heads": 16, "kv_heads": 1, "neox": False},
    ),
    (
        "sgl_kernel::apply_rope_pos_ids_cos_sin_cache",
        [*[tensor(10, 16, 64), tensor(10, 1, 64)] * 2, f32(4096, 64), tensor(10, kind=LONG), FALSE],
        "rope_inplace",
        {"tokens": 10, "q_heads": 16, "kv_heads": 1, "neox": True},
    ),
    (
        "_C::rotary_embedding",
        [tensor(10, kind=LONG), tensor(10, 1024), tensor(10, 128), scalar("64"), f32(2048, 64), TRUE],
        "rope_inplace",
        {"tokens": 10, "q_heads": 16, "kv_heads": 2, "head_dim": 64, "max_positions": 2048, "neox": True},
    ),
    (
        "sgl_kernel::causal_conv1d_fwd",
        [tensor(96, 10), tensor(96, 4), tensor(96), tensor(1, 96, 3), i32(2), NONE, tensor(1, kind="bool"), TRUE],
        "causal_conv1d",
        {"tokens": 10, "channels": 96},
    ),
    (
        "sgl_kernel::causal_conv1d_fwd",
        [tensor(1, 96, 10), tensor(96, 3), tensor(96), tensor(1, 96, 2), NONE, NONE, tensor(1, kind="bool"), TRUE],
        "causal_conv1d",
        {"tokens": 10, "channels": 96, "width": 3},
    ),
    (
        "sgl_kernel::sgl_per_token_group_quant_8bit",
        [tensor(10, 512), q8(10, 512), f32(10, 4), scalar("128"), scalar("1e-10"), scalar("-448."), scalar("448."), FALSE],
        "per_token_group_quant_fp8",
        {"tokens": 10, "hidden": 512},
    ),
    (
        "sgl_kernel::sgl_per_token_group_quant_8bit_v2",
        [tensor(10, 512), q8(10, 512), f32(10, 4), scalar("64"), *[scalar("1.")] * 3, FALSE, FALSE, NONE],
        "per_token_group_quant_fp8",
        {"tokens": 10, "hidden": 512, "group": 64},
    ),
    (
        "sgl_kernel::sgl_per_token_quant_fp8",
        [tensor(10, 512), q8(10, 512), f32(10)],
        "fp8_dynamic_per_token_quant",
        {"tokens": 10, "hidden": 512},
    ),
    (
        "_C::dynamic_per_token_scaled_fp8_quant",
        [q8(10, 512), tensor(10, 512), f32(10, 1), NONE],
        "fp8_dynamic_per_token_quant",
        {"tokens": 10, "hidden": 512},
    ),
    (
        "sgl_kernel::topk_softmax",
        [f32(10, 8), i32(10, 8), f32(10, 64), TRUE, scalar("0."), NONE],
        "topk_softmax",
        {"tokens": 10, "experts": 64, "top_k": 8, "renormalize": True, "bias": False, "dtype": "fp32"},
    ),
    (
        "_moe_C::topk_softmax",
        [f32(10, 8), i32(10, 8), i32(10, 8), f32(10, 64), FALSE, f32(64)],
        "topk_softmax",
        {"tokens": 10, "experts": 64, "top_k": 8, "bias": True, "dtype": "fp32"},
    ),
    (
        "_moe_C::topk_softmax",
        [f32(10, 8), i32(10, 8), i32(10, 8), f32(10, 64)],
        "moe_topk_gating_softmax",
        {"tokens": 10, "experts": 64, "top_k": 8},
    ),
    (
        "sgl_kernel::topk_sigmoid",
        [f32(10, 8), i32(10, 8), f32(10, 64), TRUE, f32(64)],
        "topk_sigmoid",
        {"tokens": 10, "experts": 64, "top_k": 8, "renormalize": True, "dtype": "fp32"},
    ),
    (
        "sgl_kernel::moe_fused_gate",
        [f32(10, 256), f32(256), scalar("8"), scalar("4"), scalar("8"), scalar("0"), scalar("2.5"), TRUE],
        "moe_fused_gate",
        {"tokens": 10, "experts": 256, "groups": 8, "kept_groups": 4, "top_k": 8, "scaling": 2.5, "dtype": "fp32"},
    ),
    (
        "sgl_kernel::moe_fused_gate",
        [f32(10, 256), f32(256), scalar("8"), scalar("4"), scalar("8"), scalar("0"), scalar("2.5"), FALSE],
        "moe_fused_gate",
        {"tokens": 10, "experts": 256, "groups": 8, "kept_groups": 4, "top_k": 8, "scaling": 1.0, "dtype": "fp32"},
    ),
    (
        "sgl_kernel::moe_align_block_size",
        [i32(10, 8), scalar("257"), scalar("64")],
        "moe_align_block_size",
        {"tokens": 10, "experts": 256, "top_k": 8, "block_size": 64},
    ),
    (
        "_moe_C::moe_align_block_size",
        [i32(10, 8), scalar("256"), scalar("64")],
        "moe_align_block_size",
        {"tokens": 10, "experts": 256, "top_k": 8, "block_size": 64},
    ),
    (
        "sgl_kernel::moe_sum_reduce",
        [tensor(10, 8, 64), tensor(10, 64), scalar("2.5")],
        "moe_sum_reduce",
        {"tokens": 10, "top_k": 8, "hidden": 64, "scale": 2.5},
    ),
    ("_moe_C::moe_sum", [tensor(10, 8, 64), tensor(10, 64)], "moe_sum_reduce", {"tokens": 10, "top_k": 8, "hidden": 64}),
    (
        "sgl_kernel::prepare_moe_input",
        [i32(10, 8), i32(65), i32(65), *[i32(64, 3)] * 2, *[i32(80)] * 2, scalar("64"), scalar("512"), scalar("1024")],
        "prepare_moe_input",
        {"tokens": 10, "experts": 64, "top_k": 8, "hidden": 1024, "intermediate": 512},
    ),
    (
        "sgl_kernel::apply_shuffle_mul_sum",
        [tensor(80, 64), tensor(10, 64), i32(80), tensor(10, 8)],
        "shuffle_mul_sum",
        {"tokens": 10, "top_k": 8, "hidden": 64},
    ),
    (
        "vllm::outplace_fused_experts",
        [tensor(10, 64), tensor(16, 96, 64), tensor(16, 64, 48), f32(10, 2), i32(10, 2)],
        "fused_moe",
        {"tokens": 10, "hidden": 64, "intermediate": 48, "experts": 16, "top_k": 2},
    ),
]


@pytest.mark.parametrize(("name", "inputs", "operator", "dims"), CALLS)
def test_a_call_is_the_operator_at_its_dimensions(name: str, inputs: Any, operator: str, dims: dict[str, Any]) -> None:
    verdict = Mapping().verdict(signature(name, *inputs))
    assert verdict is not None
    assert verdict.reason == ""
    assert verdict.op == find(operator).build(dims)


def test_every_entry_with_dimensions_is_met_by_one_of_these_calls() -> None:
    entries = [entry for entry in tomllib.loads(TABLE.read_text())["op"] if "dims" in entry]
    assert len(entries) > 40
    for entry in entries:
        assert any(operator == entry["operator"] and re.fullmatch(entry["name"], name) for name, _, operator, _ in CALLS), entry


@pytest.mark.parametrize(
    ("name", "inputs", "why"),
    [
        ("aten::scaled_dot_product_attention", [*QKV, f32(24, 24), scalar("0."), FALSE, NONE, FALSE], "it has a mask"),
        ("aten::scaled_dot_product_attention", [*QKV, NONE, scalar("0."), TRUE, NONE, FALSE], "it is causal"),
        ("aten::scaled_dot_product_attention", [*QKV, NONE, scalar("0.1"), FALSE, NONE, FALSE], "dropout"),
        ("aten::scaled_dot_product_attention", [QKV[0], *[tensor(2, 2, 24, 16)] * 2, NONE, scalar("0"), FALSE], "other heads"),
        ("aten::bmm", [tensor(3, 10, 64), tensor(3, 64, 96)], "one product per head"),
        ("aten::mm", [f32(10, 64), f32(64, 96)], "matmul: unknown dtype 'fp32'"),
        ("aten::mm", [tensor(10, 64), f32(64, 96)], "operands are of two types"),
        ("aten::mm", [tensor(0, 64), tensor(64, 96)], "dimension 'm' is 0"),
        (
            "aten::_scaled_mm",
            [q8(10, 256), q8(256, 128), f32(10, 1), f32(1, 128), NONE, NONE, scalar("15"), TRUE],
            "neither one per",
        ),
        ("aten::rms_norm", [tensor(10, 64), SIZES, NONE, NONE], "it has no weight"),
        ("aten::rms_norm", [tensor(10, 4, 16), SIZES, tensor(4, 16), NONE], "more than the last dimension"),
        ("aten::silu", [tensor(10, 64)], "the activation alone"),
        ("sgl_kernel::fwd", [tensor(10, 8, 64)], "contents of tensors"),
        ("sgl_kernel::cutlass_mla_decode", [tensor(10, 8, 64)], "contents of tensors"),
        ("sgl_kernel::dsv3_fused_a_gemm", [tensor(7, 100), tensor(7, 64), tensor(64, 100)], "how its columns are split"),
        ("sgl_kernel::topk_softmax", [f32(10, 8), i32(10, 8), f32(10, 64), TRUE, scalar("30."), NONE], "caps its logits"),
        ("sgl_kernel::silu_and_mul", [], "'out_rows'"),
    ],
)
def test_what_cannot_be_known_has_a_reason(name: str, inputs: Any, why: str) -> None:
    verdict = Mapping().verdict(signature(name, *inputs))
    assert verdict is not None
    assert verdict.op is None
    assert why in verdict.reason


def test_values_that_were_not_recorded_are_not_guessed() -> None:
    # As of torch before 2.1: whether it is causal cannot be told.
    old = Signature(
        name="aten::scaled_dot_product_attention", dims=([2, 4, 24, 16],) * 3 + ([],) * 5, types=(BF16,) * 3 + ("",) * 5
    )
    verdict = Mapping().verdict(old)
    assert verdict is not None
    assert verdict.op is None
    assert "cannot be answered from its inputs" in verdict.reason


def test_no_shapes_and_no_entry() -> None:
    verdict = Mapping().verdict(Signature(name="aten::mm"))
    assert verdict is not None
    assert "record_shapes=True" in verdict.reason
    assert Mapping().verdict(signature("aten::add", tensor(3))) is None
    # The whole name counts.
    assert Mapping().verdict(signature("aten::mm_backward", tensor(3))) is None


def test_names_of_inputs() -> None:
    found = scope(
        ("x", "empty", "n", "flag", "none", "late"), signature("f", tensor(2, 3, 5), tensor(0, 4), scalar("7"), TRUE, NONE)
    )
    assert {key: found[key] for key in ("x_0", "x_1", "x_2", "x_rank", "x_count", "x_rows", "x_last", "x_type")} == {
        "x_0": 2, "x_1": 3, "x_2": 5, "x_rank": 3, "x_count": 30, "x_rows": 6, "x_last": 5, "x_type": "bf16"
    }  # fmt: skip
    assert (found["empty_rows"], found["n"], found["flag"], found["none_given"]) == (0, 7, True, False)
    assert not any(key.startswith("late") for key in found)


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return path


OWN = """
[[op]]
name = 'mine::norm'
operator = "rms_norm"
inputs = ["x"]
dims = { tokens = "= x_rows", hidden = "= x_last" }
"""


def test_a_users_entry_comes_first(tmp_path: Path) -> None:
    mine = table(tmp_path, OWN + "[[op]]\nname='aten::mm'\noperator='matmul'\nreason='not of interest'\n")
    mapping = Mapping([mine])
    mapped, refused = (mapping.verdict(signature(name, tensor(3, 8), tensor(8, 5))) for name in ("mine::norm", "aten::mm"))
    assert mapped is not None
    assert mapped.op == find("rms_norm").build({"tokens": 3, "hidden": 8})
    assert refused is not None
    assert (refused.op, refused.reason) == (None, "not of interest")


def test_an_entry_whose_needs_do_not_hold_lets_the_next_one_try(tmp_path: Path) -> None:
    mine = OWN.replace("mine::norm", "aten::mm").replace("dims = {", 'needs = { "x_rank == 3" = "is no stack" }\ndims = {')
    verdict = Mapping([table(tmp_path, mine)]).verdict(signature("aten::mm", tensor(3, 8), tensor(8, 5)))
    assert verdict is not None
    assert verdict.op == find("matmul").build({"m": 3, "n": 5, "k": 8})


@pytest.mark.parametrize(
    ("change", "line", "sentence"),
    [
        (("rms_norm", "rms_nrom"), 2, "unknown operator 'rms_nrom'; did you mean 'rms_norm'?"),
        (("tokens =", "tokns ="), 2, "unknown dimension of rms_norm 'tokns'; did you mean 'tokens'?"),
        (("x_rows", "y_rows"), 2, "'y_rows' is of no input; inputs are x"),
        (("x_rows", "x_rows /"), 2, "cannot be read"),
        (("mine::norm", "mine::("), 2, "is not a regular expression"),
        (("dims =", "dim ="), 2, "unknown key of an [[op]] 'dim'"),
        (("[[op]]", "[[ops]]"), 0, "expected [[op]] blocks alone"),
        (('"x"]', '"x"'), 6, "not TOML"),
        (("dims = {", 'reason = "no"\ndims = {'), 2, "either dims or a reason"),
        (("dims = {", 'needs = { "x_rank" = "no" }\ndims = {'), 2, "compares nothing"),
        (("dims = {", 'needs = { "w_rank == 2" = "no" }\ndims = {'), 2, "'w_rank' is of no input"),
        (("'mine::norm'", "3"), 2, "key 'name'"),
    ],
)
def test_tables_that_cannot_be_used(change: tuple[str, str], line: int, sentence: str, tmp_path: Path) -> None:
    path = table(tmp_path, OWN.replace(*change))
    with pytest.raises(Mistake) as caught:
        Mapping([path])
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="own.toml: cannot be read: No such file"):
        Mapping([tmp_path / "own.toml"])
