"""What runs say about a kernel: at its shape, between shapes, on another device; and what they must not say."""

from math import exp, log
from typing import Any

import pytest
from reported import header

from pytest_dsbench.hardware import Hardware
from pytest_dsbench.hardware import named as gpu_named
from pytest_dsbench.measurement import Measurement, Planned, read_back
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import find
from pytest_dsbench.runs import Run
from pytest_dsbench.serving import grid as grids
from pytest_dsbench.serving.configuration import Configuration
from pytest_dsbench.serving.estimate import estimate
from pytest_dsbench.serving.model.architecture import named as model_named
from pytest_dsbench.serving.precision import named as precision_named
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.serving.price.efficiencies import Efficiencies
from pytest_dsbench.serving.price.nic import named as nic_named
from pytest_dsbench.serving.search import axes
from pytest_dsbench.serving.sections import Term

H200, H800 = gpu_named("h200"), gpu_named("h800")
CPU = Hardware(name="cpu", title="a CPU", kind="cpu", peak={"fp32": 1e11, "bf16": 2e11}, bandwidth=5e10, source="measured")
PROVIDER, WHERE = "triton", "shapes/mine.toml:7"


def norm(tokens: int, hidden: int = 7168) -> Operator:
    return find("rms_norm")(tokens=tokens, hidden=hidden)


def measured(op: Operator, efficiency: float | None, **others: Any) -> Measurement:
    given = {"status": "passed", "cold": True, "provider": PROVIDER, **others}
    case = Planned(operator=op.name, dims=read_back(op), label="x", where=WHERE, provider=given.pop("provider"))
    return Measurement(case=case, efficiency=efficiency, **given)


def run(*lines: Measurement, hardware: Hardware = H200, path: str = "a.jsonl", imported: str | None = None) -> Run:
    head = header().replace(hardware=hardware, imported=imported)
    return Run(path=path, header=head, measurements=lines, end=None)


def known(*lines: Measurement, hardware: Hardware = H200) -> Efficiencies:
    return Efficiencies([run(*lines, hardware=hardware)])


def test_a_shape_that_was_measured() -> None:
    found = known(measured(norm(64), 0.5)).of(norm(64), H200)
    assert found is not None
    assert (found.value, found.source, found.why) == (0.5, "measured", f"{PROVIDER}, {WHERE}")
    assert known(measured(norm(64), 0.5)).devices == ("h200",)


def test_the_fastest_provider_counts_whatever_its_place() -> None:
    lines = [measured(norm(64), value, provider=name) for name, value in (("torch", 0.4), ("triton", 0.7), ("fla", 0.6))]
    for order in (lines, lines[::-1]):
        found = known(*order).of(norm(64), H200)
        assert found is not None and found.value == 0.7 and found.why.startswith("triton,")
    apart = Efficiencies([run(lines[0]), run(lines[1], path="b.jsonl")]).of(norm(64), H200)
    assert apart is not None and apart.value == 0.7


def test_between_two_shapes_it_is_linear_in_logarithms() -> None:
    found = known(measured(norm(16), 0.2), measured(norm(256), 0.8)).of(norm(32), H200)
    assert found is not None
    # A quarter of the way from 16 to 256 = 16 * 2^4.
    assert found.value == pytest.approx(0.2**0.75 * 0.8**0.25)
    assert found.source == "interpolated" and found.why == "between measured shapes of 2"
    three = known(*(measured(norm(tokens), value) for tokens, value in ((16, 0.2), (64, 0.5), (256, 0.8))))
    nearest = three.of(norm(100), H200)
    share = log(100 / 64) / log(256 / 64)
    assert nearest is not None and nearest.value == pytest.approx(exp(log(0.5) + share * log(0.8 / 0.5)))


def test_between_shapes_of_two_sizes() -> None:
    corners = {(16, 1024): 0.1, (64, 1024): 0.2, (16, 4096): 0.4, (64, 4096): 0.8}
    table = known(*(measured(norm(*sizes), value) for sizes, value in corners.items()))
    found = table.of(norm(32, 2048), H200)
    # The middle of four corners is their geometric mean.
    assert found is not None and found.value == pytest.approx((0.1 * 0.2 * 0.4 * 0.8) ** 0.25)
    edge = table.of(norm(16, 2048), H200)
    assert edge is not None and edge.value == pytest.approx((0.1 * 0.4) ** 0.5) and edge.source == "interpolated"
    # Where a corner is missing, nothing is made up.
    three = [measured(norm(*sizes), value) for sizes, value in list(corners.items())[:3]]
    assert known(*three).of(norm(32, 2048), H200) is None


def test_nothing_is_extrapolated() -> None:
    table = known(measured(norm(16), 0.2), measured(norm(256), 0.8))
    for other in (norm(15), norm(257), norm(32, 4096), find("rms_norm")(tokens=32, hidden=7168, dtype="fp16")):
        assert table.of(other, H200) is None
    assert table.of(find("l2_norm")(tokens=32, hidden=7168), H200) is None


def test_another_gpu_is_named_and_a_cpu_says_nothing_of_a_gpu() -> None:
    carried = known(measured(norm(64), 0.5)).of(norm(64), H800)
    assert carried is not None
    assert (carried.value, carried.source) == (0.5, "carried") and carried.why == f"{PROVIDER}, {WHERE}, on h200"
    between = known(measured(norm(16), 0.2), measured(norm(256), 0.8)).of(norm(32), H800)
    assert between is not None and between.source == "carried" and between.why.endswith("on h200")
    both = Efficiencies([run(measured(norm(64), 0.9)), run(measured(norm(64), 0.3), hardware=H800)])
    own = both.of(norm(64), H800)
    assert own is not None and (own.value, own.source) == (0.3, "measured")
    on_cpu = known(measured(norm(64), 0.5), hardware=CPU)
    assert on_cpu.of(norm(64), H800) is None
    assert on_cpu.of(norm(64), CPU) is not None
    assert known(measured(norm(64), 0.5)).of(norm(64), CPU) is None


@pytest.mark.parametrize("status", ["failed", "invalid", "noisy_host", "throttled", "checked", "skipped", "crashed"])
def test_only_what_passed_counts(status: str) -> None:
    assert known(measured(norm(64), 0.5, status=status)).of(norm(64), H200) is None


def test_hot_and_untimed_cases_do_not_count() -> None:
    assert known(measured(norm(64), 0.5, cold=False)).of(norm(64), H200) is None
    assert known(measured(norm(64), None)).of(norm(64), H200) is None


@pytest.mark.parametrize("efficiency", [0.0, -0.5, 1.02, float("inf")])
def test_an_efficiency_that_cannot_be_is_named_and_not_used(efficiency: float) -> None:
    table = known(measured(norm(64), efficiency), measured(norm(32), 0.5))
    assert table.of(norm(64), H200) is None and table.of(norm(32), H200) is not None
    (sentence,) = table.left_out
    assert sentence.startswith(f"{WHERE}: rms_norm[x] triton has an efficiency of {efficiency:.3g}, which is not above 0")


def test_imported_times_are_not_measured_here() -> None:
    table = Efficiencies([run(measured(norm(64), 0.5), path="far.jsonl", imported="somebody's table"), run()])
    assert table.of(norm(64), H200) is None
    assert table.left_out == ["far.jsonl: imported, so that its times were not checked here; not used"]


def test_a_run_without_a_header_is_a_mistake() -> None:
    with pytest.raises(Mistake, match=r"^x\.jsonl: no header"):
        Efficiencies([run().replace(path="x.jsonl", header=None)])


def attention(*lengths: int) -> Operator:
    return find("paged_mla_decode")(heads=128, kv_lens=lengths)


def test_a_batch_of_one_length_and_a_ragged_one_are_different_shapes() -> None:
    alike = known(measured(attention(*[1024] * 8), 0.4), measured(attention(*[4096] * 8), 0.8))
    found = alike.of(attention(*[2048] * 8), H200)
    assert found is not None and found.value == pytest.approx((0.4 * 0.8) ** 0.5)
    assert alike.of(attention(*[2048] * 7, 2047), H200) is None
    assert alike.of(attention(*[2048] * 9), H200) is None  # more sequences than were measured
    ragged = known(measured(attention(1000, 3000), 0.4))
    assert ragged.of(attention(2000, 2000), H200) is None
    same = ragged.of(attention(3000, 1000), H200)  # as many, as long on average and at most
    assert same is not None and same.value == 0.4


def test_a_measured_kernel_takes_its_bound_over_its_efficiency() -> None:
    model, assumed = model_named("deepseek_v3"), defaults()
    given = Configuration(
        model=model, gpu=H800, nic=nic_named("cx7"), split=axes.split(model, 144, None, assumed),
        precision=precision_named("fp8", "fp8"), batch=64, context=2000,
    )  # fmt: skip
    plain = estimate(given, assumed)

    def kernels(found: Any) -> dict[str, Term]:
        return {term.name: term for one in found.sections for term in one.terms if term.op is not None}

    ops = {name: term.op for name, term in kernels(plain).items() if term.op is not None}
    table = known(*(measured(op.operator, 1.0) for op in ops.values()), hardware=H800)
    all_measured = estimate(given, assumed, table)
    for name, term in kernels(all_measured).items():
        if name == "attn_mqa":
            # Half of its bytes are not read here: what was measured is not this kernel.
            assert term.source == "assumed" and term.op is not None and not term.op.exact
        else:
            assert (term.source, term.overhead) == ("measured", 0.0), name
            assert term.seconds == pytest.approx(term.t_sol, rel=1e-12), name
    assert 0.1 < all_measured.share("measured") < 1 and plain.share("measured") == 0
    shares = [all_measured.share(source) for source in ("measured", "interpolated", "carried", "assumed")]
    # What the host takes has no efficiency.
    assert sum(shares) == pytest.approx(1 - all_measured.host / all_measured.step)
    # The grid looks at the same runs.
    grid = grids.Grid(
        model=model, gpus=(H800,), nics=(given.nic,), splits=(given.split,), tps=(1,), precisions=(given.precision,),
        policies=("dual",), mtps=(0,), batches=(64,), context=2000,
    )  # fmt: skip
    assert grids.evaluate(grid, assumed, table).step.ravel()[0] == pytest.approx(all_measured.step, rel=1e-12)
    carried = estimate(given.replace(gpu=H200), assumed, table)
    assert carried.share("measured") == 0 and carried.share("carried") > 0.1
