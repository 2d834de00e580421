"""Contracts: the packaged ones against the operators and providers they are about, and what they refuse."""

from typing import Any

import pytest

from pytest_dsbench import providers
from pytest_dsbench.contracts import KERNELS, Contract, Limit, contracts, kernel_of, of, refusal
from pytest_dsbench.contracts.refusal import built_for
from pytest_dsbench.formula import Condition
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import find
from pytest_dsbench.provider import Provider

providers.load()
GB200, H200 = (10, 0), (9, 0)


def test_there_are_23_kernels_and_each_is_under_contract() -> None:
    assert len(KERNELS) == len(set(KERNELS)) == 23
    assert {one.kernel for one in contracts() if one.replaces is None} == set(KERNELS)
    assert {one.replaces for one in contracts()} - {None} <= set(KERNELS)


def test_every_library_that_does_one_of_the_23_kernels_is_under_contract() -> None:
    # What runs wherever torch does has no limits of its own; vllm's and liger's kernels are not among the 23.
    free = {"torch", "torch_compile", "vllm", "liger_kernel", "fla"}
    primary = {one.operator for one in contracts() if one.replaces is None and one.kernel != "moe_topk_gating_softmax"}
    here = {(name, provider) for name in primary for provider in find(name).providers if provider not in free}
    elsewhere = {pair for pair in here if pair[1] in ("triton", "flag_gems") and pair[0] != "fused_moe"}
    assert here - elsewhere <= {(one.operator, one.provider) for one in contracts()}


@pytest.mark.parametrize("contract", contracts(), ids=lambda one: f"{one.provider}-{one.operator}-{one.kernel}")
def test_a_contract_is_about_what_there_is(contract: Contract) -> None:
    cls = find(contract.operator)
    provider = cls.providers[contract.provider]
    assert set(contract.packages) & {name for need in provider.needs for name in need.split("|")}
    for limit in contract.limits:
        assert all(hasattr(cls, name) for name in Condition(limit.holds).names), limit.holds
        assert limit.why and not limit.why.endswith(".")
    if contract.when:
        assert all(hasattr(cls, name) for name in Condition(contract.when).names)
    for name in contract.arch:
        built_for(contract.kernel, [name], GB200)
    if contract.until:
        assert contract.released(contract.until) and not contract.released("99.0")
    if contract.since:
        assert contract.released(contract.since) and not contract.released("0.0.1")


def fused_a(tokens: int) -> Operator:
    return find("dsv3_fused_a_gemm").build({"tokens": tokens})


def mla(**dims: Any) -> Operator:
    return find("paged_mla_decode").build({"heads": 128, "kv_lens": [1024] * 8, **dims})


@pytest.mark.parametrize(
    ("op", "provider", "capability", "sentence"),
    [
        (fused_a(16), "sgl_kernel", H200, None),
        (fused_a(17), "sgl_kernel", H200, "tokens = 17, outside the limit 1 <= tokens <= 16 of dsv3_fused_a_gemm: it has one"),
        (fused_a(17), "torch", H200, None),
        (fused_a(1), "sgl_kernel", (8, 0), "dsv3_fused_a_gemm is built for sm_90+; this GPU is sm_80"),
        (fused_a(1), "sgl_kernel", None, None),
        (find("dsv3_router_gemm").build({"tokens": 32}), "sgl_kernel", H200, "tokens = 32, outside the limit 1 <= tokens <= 16"),
        (mla(), "sgl_kernel", GB200, None),
        (mla(), "sgl_kernel", H200, "cutlass_mla_decode is built for sm_100; this GPU is sm_90"),
        (mla(), "sgl_kernel", (10, 3), "cutlass_mla_decode is built for sm_100; this GPU is sm_103"),
        (mla(page_size=48), "sgl_kernel", GB200, "page_size = 48, outside the limit 128 % page_size == 0"),
        (mla(kv_lens=[64] * 1025), "sgl_kernel", GB200, "tokens = 1025, outside the limit tokens <= 1024 of cutlass_mla_decode"),
        (mla(q_len=2), "sgl_kernel", GB200, "q_len = 2, outside the limit q_len == 1"),
        (mla(page_size=128), "flashinfer", GB200, "page_size = 128, outside the limit page_size in (32, 64)"),
        (mla(heads=96), "flashinfer", GB200, "heads = 96, outside the limit heads <= 64 or heads == 128"),
        (mla(heads=64), "flashinfer", GB200, None),
        (
            find("silu_and_mul").build({"tokens": 5, "hidden": 12}),
            "flashinfer",
            GB200,
            "hidden = 12, outside the limit hidden % 8 == 0",
        ),
        (
            find("silu_and_mul").build({"tokens": 5, "hidden": 12}),
            "sgl_kernel",
            GB200,
            "hidden = 12, outside the limit hidden % 8 == 0",
        ),
        (
            find("concat_mla_k").build({"tokens": 2, "dtype": "fp16"}),
            "sgl_kernel",
            GB200,
            "dtype = fp16, outside the limit dtype == 'bf16'",
        ),
        (find("concat_mla_k").build({"tokens": 2, "dtype": "fp16"}), "flashinfer", GB200, None),
        (
            find("moe_align_block_size").build({"tokens": 2, "experts": 1024, "top_k": 1}),
            "sgl_kernel",
            GB200,
            "experts = 1024, outside the limit experts < 1024 of moe_align_block_size: one block counts",
        ),
    ],
)
def test_limits(op: Operator, provider: str, capability: tuple[int, int] | None, sentence: str | None) -> None:
    found = refusal(op, op.providers[provider], capability)
    assert (found is None) == (sentence is None)
    assert found is None or found.startswith(str(sentence))


def test_the_published_limit_names_its_likely_cause() -> None:
    (contract,) = of("paged_mla_decode", "sgl_kernel")
    (limit,) = [one for one in contract.limits if "1024" in one.holds]
    assert "workspace" in limit.why


def test_a_release_without_the_kernel_is_refused_and_says_what_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    op = find("scaled_fp4_mm").build({"m": 16, "n": 64, "k": 64})
    provider = op.providers["sgl_kernel"]
    monkeypatch.setattr(Provider, "packages", lambda _: {"sglang-kernel": "0.4.10"})
    assert refusal(op, provider, GB200) == (
        "sglang-kernel 0.4.10 does not have cutlass_scaled_fp4_mm, which is in releases up to 0.4.0; flashinfer calls mm_fp4"
    )
    monkeypatch.setattr(Provider, "packages", lambda _: {"sgl-kernel": "0.3.21"})
    assert refusal(op, provider, GB200) is None


def test_a_provider_with_two_kernels_has_the_limits_of_the_one_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    fp32, bf16 = (find("dsv3_router_gemm").build({"tokens": 4, "out_dtype": dtype}) for dtype in ("fp32", "bf16"))
    provider = fp32.providers["flashinfer"]
    monkeypatch.setattr(Provider, "packages", lambda _: {"flashinfer-python": "0.6.13"})
    assert refusal(fp32, provider, H200) is None
    assert refusal(bf16, provider, H200) == (
        "flashinfer-python 0.6.13 does not have mm_M1_16_K7168_N256_bf16, which is in releases from 0.7 on;"
        " sgl_kernel calls dsv3_router_gemm"
    )
    monkeypatch.setattr(Provider, "packages", lambda _: {"flashinfer-python": "0.7.2.post1"})
    assert refusal(bf16, provider, H200) is None


@pytest.mark.parametrize(
    ("version", "released"), [("0.3.21", True), ("0.4.0", True), ("0.4.0.post1", True), ("0.4.1.post1", False), ("1.0", False)]
)
def test_the_last_release_includes_its_post_releases(version: str, released: bool) -> None:
    made = Contract(kernel="rmsnorm", operator="rms_norm", provider="x", module="x", until="0.4.0")
    assert made.released(version) is released


def test_the_kernel_of_an_operator() -> None:
    assert kernel_of("moe_align_block_size") == "moe_align_block_size" and kernel_of("l2_norm") is None
    assert of("rms_norm", "torch") == ()


def test_a_providers_own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    op = find("rms_norm").build({"tokens": 5, "hidden": 8})
    own = Provider("mine", lambda *_: print, limits={"hidden % 16 == 0": "rows of 32 bytes"}, arch=("sm_90", "sm_100+"))
    assert refusal(op, own, H200) == "hidden = 8, outside the limit hidden % 16 == 0 of mine: rows of 32 bytes"
    assert refusal(op, own, (8, 9)) == "mine is built for sm_90, sm_100+; this GPU is sm_89"
    assert refusal(op, Provider("mine", lambda *_: print, arch=("sm_100+",)), (12, 0)) is None
    with pytest.raises(Mistake, match=r"condition 'widht < 4': unknown name 'widht'"):
        refusal(op, Provider("mine", lambda *_: print, limits={"widht < 4": "typo"}), None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"limits": {"tokens": "no comparison"}}, "provider 'odd': condition 'tokens' compares nothing"),
        ({"limits": {"tokens <": "half"}}, "provider 'odd': condition 'tokens <' cannot be read"),
        ({"arch": "hopper"}, "provider 'odd': 'hopper' is no architecture; expected such as 'sm_90' or 'sm_90+'"),
    ],
)
def test_a_wrong_limit_is_a_mistake_where_it_is_written(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Mistake) as raised:
        find("rms_norm").provider("odd", **options)
    assert str(raised.value).startswith(sentence)


def test_limits_are_records() -> None:
    assert Limit(holds="a < 1", why="b") == Limit(holds="a < 1", why="b")
