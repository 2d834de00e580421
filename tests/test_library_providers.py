"""The providers of kernel libraries: their calls against the signatures in the wheels, their layouts against stand-ins."""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from inspect import Parameter, signature
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import libraries
import pytest
import torch
from libraries import STAND_INS, StandIn
from torch import Tensor

from pytest_dsbench import providers
from pytest_dsbench.check import compare, named, same
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import everything, find
from pytest_dsbench.provider import Provider, Unsupported
from pytest_dsbench.providers import flashinfer
from pytest_dsbench.providers.flag_gems import moe
from pytest_dsbench.signatures import Wheel, definitions
from pytest_dsbench.tensors import make

providers.load()
LIBRARIES = (
    "fla",
    "flag_gems",
    "flashinfer",
    "flashinfer_mla",
    "flashinfer_ragged",
    "liger_kernel",
    "sgl_kernel",
    "sglang",
    "vllm",
)
ALL = ("fla", "flag_gems", "flashinfer", "liger_kernel", "sgl_kernel", "vllm")
_ROWS = {"tokens": 5, "hidden": 48}
_HEADS = {"tokens": 5, "q_heads": 6, "kv_heads": 2}
_PAGED = {"q_heads": 6, "kv_heads": 2, "head_dim": 64, "page_size": 8}
_STATES = {"batch": 2, "tokens": 70, "v_heads": 4, "key_dim": 16, "value_dim": 24, "states": 5}
_EXPERTS = {"tokens": 9, "experts": 6, "top_k": 2}
_SPARSE = {"tokens": 2, "experts": 40, "top_k": 3}
_GROUPED = {"tokens": 9, "experts": 32, "groups": 8, "kept_groups": 4, "top_k": 8}
_BLOCKS = {"hidden": 256, "intermediate": 128, "experts": 4, "top_k": 2}
_UNIFIED = {**_PAGED, "q_lens": [5, 1, 20], "kv_lens": [37, 50, 20]}
_STEPS = {"q_heads": 2, "v_heads": 4, "states": 5}

#: By operator: dimensions, and the libraries that must get them right.
CASES: dict[str, list[tuple[dict[str, Any], tuple[str, ...]]]] = {
    "rms_norm": [(_ROWS, ALL), ({**_ROWS, "dtype": "fp16"}, ALL)],
    "fused_add_rms_norm": [(_ROWS, ALL), ({**_ROWS, "dtype": "fp16"}, ALL)],
    "layer_norm": [
        (_ROWS, ("fla", "flag_gems", "flashinfer", "liger_kernel")),
        ({**_ROWS, "dtype": "fp32"}, ("fla", "flag_gems", "liger_kernel")),
    ],
    "fused_qk_rmsnorm": [(_HEADS, ("flashinfer",)), ({**_HEADS, "tokens": 1, "dtype": "bf16"}, ("flashinfer", "sgl_kernel"))],
    "gated_rms_norm": [({"rows": 5}, ("fla",))],
    "l2_norm": [(_ROWS, ("fla",))],
    "silu_and_mul": [(_ROWS, ("flag_gems", "flashinfer", "sgl_kernel", "vllm"))],
    "causal_conv1d": [({"tokens": 9, "channels": 12}, ("fla", "sgl_kernel")), ({"tokens": 2, "channels": 12}, ("sgl_kernel",))],
    "gated_delta_rule_update": [
        ({**_STEPS, "batch": 2, "tokens": 3, "key_dim": 16, "value_dim": 24}, ("fla",)),
        ({**_STEPS, "batch": 3, "tokens": 1}, ("fla", "flashinfer")),
    ],
    "chunk_gated_delta_rule_state": [({**_STATES, "k_heads": 2}, ("fla", "flag_gems"))],
    "chunk_delta_rule_output": [
        ({"batch": 2, "tokens": 70, "q_heads": 2, "v_heads": 4, "key_dim": 16, "value_dim": 24}, ("fla", "flag_gems"))
    ],
    "fused_qkv_rope": [
        ({**_HEADS, **dims}, ("flag_gems", "flashinfer", "sgl_kernel", "vllm"))
        for dims in ({}, {"dtype": "bf16"}, {"bias": True}, {"bias": True, "base": 1e6, "dtype": "bf16"})
    ]
    + [({**_HEADS, "rope_dim": 64}, ("flashinfer", "sgl_kernel", "vllm"))],
    "mrope": [
        (_HEADS, ("liger_kernel", "vllm")),
        ({**_HEADS, "head_dim": 32, "sections": [3, 4, 5], "dtype": "fp16"}, ("vllm",)),
    ],
    "topk_filter": [({"tokens": 3, "vocab": 100, "top_k": 7}, ("flashinfer",))],
    "fp8_dynamic_per_token_quant": [(_ROWS, ("flag_gems",))],
    "per_token_group_quant_fp8": [({"tokens": 5, "hidden": 256}, ("flag_gems",))],
    "block_scaled_mm": [
        ({"m": 5, "n": 256, "k": 384}, ("flag_gems",)),
        ({"m": 5, "n": 200, "k": 256}, ("flag_gems",)),
        ({"m": 5, "n": 256, "k": 384, "out_dtype": "bf16"}, ("flag_gems", "sgl_kernel")),
    ],
    "attention_forward": [
        ({"heads": 3, "head_dim": 64, "seq_lens": [5, 1, 20]}, ("flag_gems", "flashinfer", "sgl_kernel")),
    ],
    "unified_attention": [
        (_UNIFIED, ("flag_gems", "flashinfer", "sgl_kernel", "vllm")),
        ({**_UNIFIED, "causal": False}, ("flag_gems", "flashinfer", "sgl_kernel")),
        ({**_PAGED, "q_lens": [3, 9], "kv_lens": [37, 40]}, ("flag_gems", "flashinfer", "sgl_kernel", "vllm")),
    ],
    "paged_attention_decode": [
        ({**_PAGED, "layout": "nhd", "kv_lens": lengths}, ("flag_gems", "flashinfer", "sgl_kernel", "vllm"))
        for lengths in ([37, 50, 1], [37, 40])
    ],
    "mla_decode_attention": [
        ({"heads": 5, "kv_lens": [128, 64, 192]}, ("flag_gems", "flashinfer", "sgl_kernel")),
        ({"heads": 5, "kv_lens": [36, 50, 2]}, ("flag_gems", "flashinfer")),
    ],
    "paged_mla_decode": [
        ({"heads": 5, "kv_lens": [70, 129, 1]}, ("flashinfer", "flashinfer_mla", "sgl_kernel")),
        ({"heads": 128, "kv_lens": [128, 65]}, ("flashinfer", "flashinfer_mla", "sgl_kernel")),
        ({"heads": 5, "kv_lens": [70, 129, 4], "q_len": 3, "page_size": 32}, ("flashinfer", "flashinfer_mla")),
        ({"heads": 5, "kv_lens": [70, 129], "page_size": 16, "dtype": "fp16"}, ("flashinfer_mla", "sgl_kernel")),
    ],
    "mla_ragged_prefill": [
        ({"heads": 3, "q_lens": [5, 1, 20], **dims}, ("flashinfer", "flashinfer_ragged", "sgl_kernel"))
        for dims in ({}, {"kv_lens": [9, 30, 20]}, {"kv_lens": [9, 30, 4], "causal": False, "dtype": "fp16"})
    ],
    "mla_rope_quantize_fp8": [
        ({"tokens": 7, "heads": 3}, ("flashinfer",)),
        ({"tokens": 7, "heads": 3, "neox": True, "quant_scale_q": 0.3, "quant_scale_kv": 2.5, "dtype": "fp16"}, ("flashinfer",)),
    ],
    "rope_inplace": [
        ({"tokens": 7, "q_heads": 6, **dims}, ("flashinfer", "sgl_kernel"))
        for dims in ({}, {"kv_heads": 2, "head_dim": 128, "neox": True, "dtype": "fp16"})
    ],
    "concat_mla_k": [({"tokens": 3}, ("flashinfer", "sgl_kernel")), ({"tokens": 3, "dtype": "fp16"}, ("flashinfer",))],
    "reshape_and_cache": [
        ({"tokens": 19, "heads": 3, "head_dim": 64, "page_size": 8}, ("flag_gems", "flashinfer", "vllm")),
    ],
    "moe_topk_gating_softmax": [(_EXPERTS, ("flag_gems", "sgl_kernel", "vllm"))],
    "moe_align_block_size": [
        ({**dims, "block_size": block}, ("flag_gems", "sgl_kernel", "vllm")) for dims in (_EXPERTS, _SPARSE) for block in (1, 16)
    ],
    "moe_count_and_sort": [(_EXPERTS, ("liger_kernel",)), (_SPARSE, ("liger_kernel",))],
    "moe_sum_reduce": [
        ({"tokens": 5, "top_k": 3, "hidden": 24}, ("flag_gems", "sgl_kernel")),
        ({"tokens": 5, "top_k": 3, "hidden": 24, "scale": 2.5, "dtype": "fp16"}, ("sgl_kernel",)),
    ],
    "fused_moe": [
        ({**_EXPERTS, "hidden": 64, "intermediate": 32}, ("flag_gems", "flashinfer", "liger_kernel", "vllm")),
    ],
    "fp8_blockscale_fused_moe": [({**_BLOCKS, "tokens": 9}, ("flag_gems",))],
    "scaled_fp4_mm": [
        ({"m": 5, "n": 160, "k": 96}, ("flashinfer", "sgl_kernel")),
        ({"m": 131, "n": 32, "k": 64, "out_dtype": "fp16"}, ("flashinfer", "sgl_kernel")),
    ],
    "scaled_fp4_experts_quant": [
        ({**dims, "hidden": 112, "dtype": dtype}, ("sgl_kernel",)) for dims in (_EXPERTS, _SPARSE) for dtype in ("bf16", "fp16")
    ],
    "fp4_group_mm": [({**dims, "n": 160, "k": 96}, ("sgl_kernel",)) for dims in (_EXPERTS, _SPARSE)],
    "fp4_block_scale_moe": [({**_GROUPED, "hidden": 128, "intermediate": 64}, ("flashinfer",))],
    "topk_softmax": [
        ({**_EXPERTS, "renormalize": True, "bias": True, "dtype": "bf16"}, ("sgl_kernel",)),
        (_EXPERTS, ("sgl_kernel",)),
    ],
    "topk_sigmoid": [
        ({**_EXPERTS, "renormalize": True, "dtype": "fp16"}, ("sgl_kernel",)),
        ({**_EXPERTS, "bias": False}, ("sgl_kernel",)),
    ],
    "moe_fused_gate": [
        (_GROUPED, ("flashinfer", "sgl_kernel", "sglang")),
        ({**_GROUPED, "dtype": "bf16", "scaling": 1.0}, ("sgl_kernel", "sglang")),
    ],
    "prepare_moe_input": [({**dims, "hidden": 48, "intermediate": 32}, ("sgl_kernel",)) for dims in (_EXPERTS, _SPARSE)],
    "shuffle_mul_sum": [({"tokens": 5, "top_k": 3, "hidden": 24, "dtype": dtype}, ("sgl_kernel",)) for dtype in ("bf16", "fp32")],
    "dsv3_fused_a_gemm": [
        ({"tokens": 3, "hidden": 96, "q_lora_rank": 40, "kv_lora_rank": 24, "rope_dim": 8}, ("sgl_kernel", "sglang")),
    ],
    "dsv3_router_gemm": [({"tokens": 3, "out_dtype": dtype}, ("flashinfer", "sgl_kernel")) for dtype in ("fp32", "bf16")],
    "bmm_fp8": [
        ({"batch": 3, "m": 5, "n": 16, "k": 32, "out_dtype": dtype}, ("flashinfer", "sgl_kernel")) for dtype in ("bf16", "fp16")
    ],
}
RUNS = [
    pytest.param(name, dims, library, id=f"{name}-{library}-{number}")
    for name, cases in CASES.items()
    for number, (dims, some) in enumerate(cases)
    for library in some
]


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All libraries, on a GPU of the capability that most of them are made for, with a Triton as old as they are."""
    language = pytest.importorskip("triton.language")
    libraries.install(monkeypatch)
    monkeypatch.setattr(language, "make_block_ptr", lambda: None, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (9, 0))
    flashinfer.attention._workspace.cache_clear()
    yield
    flashinfer.attention._workspace.cache_clear()


def result(op: Operator, launch: Any) -> dict[str, Tensor]:
    return named(launch(), op.outputs(), "cpu")


def right(op: Operator, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    found = op.reference(**{name: value.clone() for name, value in inputs.items()})
    return dict(zip(op.outputs(), found if isinstance(found, tuple) else (found,), strict=True))


def peer(op: Operator, inputs: dict[str, Tensor], want: dict[str, Tensor]) -> dict[str, float]:
    """How far torch's own path is from the reference."""
    copies = {name: value.clone() for name, value in inputs.items()}
    found = compare(op, inputs, result(op, op.providers["torch"].prepare(op, **copies)), want)
    return {name: one.rel_l2 for name, one in found.items()}


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(("name", "dims", "library"), RUNS)
def test_adapters_are_right_whatever_the_buffers_hold(name: str, dims: dict[str, Any], library: str) -> None:
    """Prepared once, then launched on other contents in the same buffers; only what is declared may be overwritten."""
    op = find(name).build(dims)
    provider, inputs = op.providers[library], make(op, "cpu")
    assert provider.devices == ("cuda",) and set(provider.inplace) <= set(inputs)
    launch = provider.prepare(op, **inputs)
    for content in (0, 1, 2):
        for key, value in make(op, "cpu", content).items():
            # What a model holds fixed may be part of the launch.
            if key not in op.constants:
                inputs[key].copy_(value)
        once(op, provider, launch, inputs)
    for recipe in op.edges:
        inputs = make(op, "cpu", 0, recipe)
        once(op, provider, provider.prepare(op, **inputs), inputs, beside_torch=False)


def once(op: Operator, provider: Provider, launch: Any, inputs: dict[str, Tensor], beside_torch: bool = True) -> None:
    before = {key: value.clone() for key, value in inputs.items()}
    want = right(op, before)
    compare(op, before, result(op, launch), want, peer(op, before, want) if beside_torch else None)
    for key, value in inputs.items():
        assert key in provider.inplace or same(value, before[key]), f"{key} was overwritten"


@pytest.mark.usefixtures("stand_ins")
def test_experts_take_some_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moe, "_CHUNK", 4)
    op = find("fp8_blockscale_fused_moe").build({**_BLOCKS, "tokens": 9})
    inputs = make(op, "cpu")
    once(op, op.providers["flag_gems"], op.providers["flag_gems"].prepare(op, **inputs), inputs)


def offered() -> list[tuple[str, str]]:
    return [
        (name, library)
        for name, cls in everything().items()
        if cls.__module__.startswith("pytest_dsbench.")
        for library in cls.providers
        if library in LIBRARIES
    ]


def test_every_adapter_is_exercised() -> None:
    assert {(name, library) for name, cases in CASES.items() for _, some in cases for library in some} == set(offered())


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    ("library", "name", "dims", "sentence"),
    [
        ("flashinfer", "rms_norm", {**_ROWS, "dtype": "fp32"}, "flashinfer's rmsnorm takes bf16 and fp16, not fp32"),
        ("sgl_kernel", "rms_norm", {**_ROWS, "dtype": "fp32"}, "sgl_kernel's rmsnorm takes bf16 and fp16, not fp32"),
        ("flashinfer", "layer_norm", {**_ROWS, "dtype": "fp16"}, "flashinfer's layernorm takes bf16, not fp16"),
        ("sgl_kernel", "fused_qk_rmsnorm", _HEADS, "rows at equal distances, which the heads of 5 tokens are not"),
        ("flag_gems", "fused_qkv_rope", {**_HEADS, "rope_dim": 64}, "all 128 columns of a head, not 64"),
        ("vllm", "fused_qkv_rope", {**_HEADS, "q_heads": 3}, "no q_heads = 3 beside kv_heads = 2"),
        ("liger_kernel", "mrope", {**_HEADS, "sections": [1, 2, 3]}, "turns all 128 columns of a head, not 12"),
        ("vllm", "mrope", {**_HEADS, "sections": [4, 4]}, "has three axes, not 2"),
        ("vllm", "unified_attention", {**_UNIFIED, "causal": False}, "vllm's unified_attention is causal"),
        ("flashinfer", "unified_attention", {**_UNIFIED, "head_dim": 72}, "heads of 64, 128 or 256 columns, not 72"),
        *(
            (library, "paged_attention_decode", {**_PAGED, "kv_lens": [9]}, "nhd, not packed")
            for library in ("flag_gems", "flashinfer", "sgl_kernel", "vllm")
        ),
        ("sgl_kernel", "mla_decode_attention", {"heads": 5, "kv_lens": [65]}, "pages of 64 keys, which [65] do not fill"),
        ("flag_gems", "mla_decode_attention", {"heads": 5, "kv_lens": [64], "rope_dim": 32}, "512 + 64 columns, not 512 + 32"),
        ("flashinfer", "paged_mla_decode", {"heads": 5, "kv_lens": [65], "dtype": "fp16"}, "writes bf16, not fp16"),
        ("fla", "chunk_delta_rule_output", {"tokens": 9, "q_heads": 1, "v_heads": 1, "chunk": 48}, "tokens, not 48"),
        (
            "flashinfer",
            "gated_delta_rule_update",
            {**_STEPS, "tokens": 2},
            "flashinfer's gated_delta_rule_decode takes one step, not 2",
        ),
        ("flag_gems", "per_token_group_quant_fp8", {"tokens": 1, "hidden": 128, "fp8": "fp8_e4m3fnuz"}, "not fp8_e4m3fnuz"),
        ("sgl_kernel", "block_scaled_mm", {"m": 1, "n": 128, "k": 128, "out_dtype": "fp32"}, "bf16 and fp16, not fp32"),
        (
            "sgl_kernel",
            "block_scaled_mm",
            {"m": 1, "n": 128, "k": 128, "group_n": 64, "out_dtype": "fp16"},
            "of 128 x 128, not 64 x 128",
        ),
        ("vllm", "moe_align_block_size", {**_EXPERTS, "experts": 1000}, "at most 992 experts, not 1000"),
        ("sgl_kernel", "moe_sum_reduce", {"tokens": 257, "top_k": 2, "hidden": 24}, "leaves out the last 8 of hidden = 24"),
        ("flag_gems", "moe_sum_reduce", {"tokens": 2, "top_k": 2, "hidden": 24, "scale": 2.5}, "does not scale by 2.5"),
        ("flag_gems", "fp8_blockscale_fused_moe", {**_BLOCKS, "tokens": 2, "group": 64}, "128 x 128, not 64 x 64"),
        ("flashinfer", "moe_fused_gate", {**_GROUPED, "dtype": "bf16"}, "in the dtype of its scores, bf16, not fp32"),
        *(
            (library, "bmm_fp8", {"batch": 1, "m": 1, "n": 16, "k": 16, "fp8": "fp8_e4m3fnuz"}, "fp8_e4m3, not fp8_e4m3fnuz")
            for library in ("flashinfer", "sgl_kernel")
        ),
    ],
)
def test_what_a_library_does_not_do_is_said(library: str, name: str, dims: dict[str, Any], sentence: str) -> None:
    op = find(name).build(dims)
    with pytest.raises(Unsupported, match=re.escape(sentence)) as raised:
        op.providers[library].prepare(op, **make(op, "meta"))
    assert not str(raised.value).endswith(".")


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("name", ["unified_attention", "chunk_delta_rule_output"])
def test_kernels_with_block_pointers_need_a_triton_that_has_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_block_ptr() -> None:
        """Block pointers have been removed."""

    op = find(name).build(CASES[name][0][0])
    op.providers["flag_gems"].prepare(op, **make(op, "meta"))
    monkeypatch.setattr("triton.language.make_block_ptr", make_block_ptr)
    with pytest.raises(Unsupported, match=r"is written with block pointers, which Triton [0-9.]+ does not have"):
        op.providers["flag_gems"].prepare(op, **make(op, "meta"))


@pytest.mark.parametrize("name", ["unified_attention", "gated_delta_rule_update", "fused_moe"])
def test_libraries_are_looked_up_by_their_distributions(name: str) -> None:
    needs = {"fla": "fla-core", "flag_gems": "flag-gems", "flashinfer": "flashinfer-python", "liger_kernel": "liger-kernel"}
    for library, provider in find(name).providers.items():
        if library in needs:
            assert needs[library] in provider.needs


def test_what_compiles_for_minutes_is_opt_in() -> None:
    def chosen(name: str) -> Provider:
        return find(name).providers["flashinfer"]

    assert chosen("fused_moe").opt_in
    assert not chosen("unified_attention").opt_in


#: A folder with wheels, such as `pip download --no-deps` leaves them.
WHEELS = Path(os.environ["DSBENCH_WHEELS"]) if "DSBENCH_WHEELS" in os.environ else None


def wheels_of(stand_in: StandIn) -> list[Path]:
    if WHEELS is None:
        pytest.skip("DSBENCH_WHEELS names no folder with wheels")
    found = [path for name in stand_in.wheels for path in sorted(WHEELS.glob(f"{name}-*.whl"))]
    if not found:
        pytest.skip(f"{WHEELS} holds no wheel of {' or '.join(stand_in.wheels)}")
    return found


def defined(source: str, names: tuple[str, ...]) -> ast.arguments:
    """The arguments of the first of some functions, or methods, that a file defines."""
    tree = ast.parse(source)
    for name in names:
        body: list[ast.stmt] = tree.body
        *owners, last = name.split(".")
        for owner in owners:
            body = [part for node in body if isinstance(node, ast.ClassDef) and node.name == owner for part in node.body]
        functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == last]
        if functions:
            # Of overloads, the last is the function itself.
            return functions[-1].args
    raise AssertionError(f"none of {names} is defined")


def agrees(stand_in: StandIn, real: ast.arguments) -> None:
    """Whatever binds to the stand-in binds to the real function, parameter by parameter, and leaves the same defaults."""
    places = [argument.arg for argument in real.posonlyargs + real.args]
    defaults = dict(zip(reversed(places), (ast.unparse(value) for value in reversed(real.defaults)), strict=False))
    defaults |= {
        argument.arg: ast.unparse(value) for argument, value in zip(real.kwonlyargs, real.kw_defaults, strict=True) if value
    }
    names = [*places, *(argument.arg for argument in real.kwonlyargs)]
    if places[:1] in (["self"], ["ctx"]):
        del places[0], names[0]
    mine = [one for one in signature(stand_in.function).parameters.values() if one.name != "self"]
    positional = [one.name for one in mine if one.kind is Parameter.POSITIONAL_OR_KEYWORD]
    assert places[: len(positional)] == positional
    for one in mine:
        assert one.name in names
        if one.default is not Parameter.empty:
            assert ast.literal_eval(defaults[one.name]) == one.default, one.name
    left = set(names) - {one.name for one in mine}
    assert left <= set(defaults), "a parameter without a default gets no value"


@pytest.mark.parametrize("stand_in", [one for one in STAND_INS if one.source], ids=lambda one: one.title)
def test_stand_ins_have_the_signatures_of_the_wheels(stand_in: StandIn) -> None:
    for path in wheels_of(stand_in):
        with ZipFile(path) as wheel:
            agrees(stand_in, defined(wheel.read(stand_in.source).decode(), stand_in.defined))


OPERATIONS = [one for one in STAND_INS if not one.source]


@pytest.mark.parametrize("stand_in", OPERATIONS, ids=lambda one: one.title)
def test_stand_ins_have_the_schemas_of_the_wheels(stand_in: StandIn) -> None:
    for path in wheels_of(stand_in):
        known = definitions.signature(wheel(path), "torch.ops.any", stand_in.defined[0])
        assert known is not None and list(known.parameters) == list(signature(stand_in.function).parameters)


@cache
def wheel(path: Path) -> Wheel:
    """Read once: its binaries have hundreds of megabytes."""
    return Wheel(path)
