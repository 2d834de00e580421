"""The doctor: what it finds in libraries that are as their contracts say, in ones that are not, and where there are none."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from pytest_dsbench import doctor
from pytest_dsbench.__main__ import main
from pytest_dsbench.commands import doctor as command
from pytest_dsbench.contracts import KERNELS, contracts
from pytest_dsbench.doctor import Finding
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.report.doctor import doctor_lines
from pytest_dsbench.signatures import Wheel

#: What a made-up release defines: two functions as the real one has them.
RIGHT = """
def topk_softmax(topk_weights, topk_ids, gating_output, renormalize=False, moe_softcapping=0.0, correction_bias=None): ...
def topk_sigmoid(topk_weights, topk_ids, gating_output, renormalize=False, correction_bias=None): ...
"""


def release(folder: Path, text: str, version: str = "0.4.10") -> Wheel:
    folder.mkdir(exist_ok=True)
    path = folder / f"sglang_kernel-{version}-py3-none-any.whl"
    with ZipFile(path, "w") as wheel:
        wheel.writestr("sgl_kernel/__init__.py", text)
    return Wheel(path)


def found(findings: list[Finding], kernel: str) -> Finding:
    (one,) = [one for one in findings if one.contract.kernel == kernel == one.contract.operator and one.version is not None]
    return one


def test_what_is_there_and_fits(tmp_path: Path) -> None:
    one = found(doctor.examine([release(tmp_path, RIGHT)]), "topk_softmax")
    assert one.found and one.released and not one.misfits and one.surprise is None
    assert one.functions == ("sgl_kernel.topk_softmax",)
    assert (one.distribution, one.version) == ("sglang-kernel", "0.4.10")


def test_what_takes_other_arguments_does_not_fit(tmp_path: Path) -> None:
    wrong = RIGHT.replace("topk_sigmoid(topk_weights,", "topk_sigmoid(handle, *, topk_weights,")
    one = found(doctor.examine([release(tmp_path, wrong)]), "topk_sigmoid")
    assert one.found and one.surprise is not None
    assert one.surprise.startswith("sglang-kernel 0.4.10: sgl_kernel.topk_sigmoid called at routing.py:")


def test_what_should_be_there_and_is_not(tmp_path: Path) -> None:
    one = found(doctor.examine([release(tmp_path, RIGHT)]), "concat_mla_k")
    assert not one.found and one.released and one.surprise == "sglang-kernel 0.4.10 does not define sgl_kernel.concat_mla_k"


def test_what_is_gone_as_the_contract_says_is_no_surprise(tmp_path: Path) -> None:
    one = found(doctor.examine([release(tmp_path, RIGHT)]), "bmm_fp8")
    assert not one.found and not one.released and one.surprise is None


def test_what_is_there_although_the_contract_says_it_is_gone(tmp_path: Path) -> None:
    back = RIGHT + "def bmm_fp8(A, B, A_scale, B_scale, dtype, out=None): ...\n"
    one = found(doctor.examine([release(tmp_path, back)]), "bmm_fp8")
    assert one.surprise == "sglang-kernel 0.4.10 has bmm_fp8, which the contract says is in releases up to 0.4.5"
    assert found(doctor.examine([release(tmp_path, back, "0.4.5")]), "bmm_fp8").surprise is None


def test_every_contract_is_examined_whatever_is_there() -> None:
    findings = doctor.examine([])
    assert [one.contract for one in findings] == list(contracts())
    assert all(one.version is None and one.surprise is None for one in findings)
    # What a provider of a library uses is known without the library; our own kernels use none.
    assert {one.contract.provider for one in findings if not one.functions} == {"triton"}


def test_the_table_counts_what_could_run(tmp_path: Path) -> None:
    findings = doctor.examine([release(tmp_path, RIGHT)], (7, 5))
    lines = doctor_lines(findings, "GPU here: Toy, sm_75")
    assert lines[0] == "GPU here: Toy, sm_75"
    assert "topk_softmax is built for sm_80+; this GPU is sm_75" in lines
    assert "not installed: flashinfer-python" in lines
    assert "sglang-kernel 0.4.10 does not have moe_fused_gate: it is in releases up to 0.4.4" in lines
    assert lines[-1] == f"2 of {len(KERNELS)} kernels have a library here that takes our calls; the GPU here can run 0 of them"
    on_hopper = doctor_lines(doctor.examine([release(tmp_path, RIGHT)], (9, 0)), "")
    assert on_hopper[-1].endswith("the GPU here can run 2 of them")


def test_the_command_on_wheels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release(tmp_path / "wheels", RIGHT)
    (tmp_path / "wheels" / "other-1.0-py3-none-any.whl").write_bytes(
        (tmp_path / "wheels" / "sglang_kernel-0.4.10-py3-none-any.whl").read_bytes()
    )
    assert main(["doctor", "--wheels", str(tmp_path / "wheels")]) == 1
    out, err = capsys.readouterr()
    assert not err and "does not fit: sglang-kernel 0.4.10 does not define sgl_kernel.concat_mla_k" in out
    row = next(line.split() for line in out.splitlines() if line.startswith("14 "))
    assert row == ["14", "topk_softmax", "topk_softmax", "sgl_kernel", "sglang-kernel", "0.4.10", "found", "fits", "sm_80+"]


def test_the_command_on_what_is_installed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "here", list)
    monkeypatch.setattr(command, "has_gpu", lambda: False)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "no GPU here: nothing is said about architectures"
    assert [line.split()[0] for line in lines if line[:2].strip().isdigit() and line != lines[-1]] == [
        str(number) for number in range(1, 24)
    ]
    assert "not installed: sgl-kernel or sglang-kernel" in lines
    assert lines[-1] == "0 of 23 kernels have a library here that takes our calls"


def test_mistakes_about_wheels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--wheels", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"dsbench: --wheels {tmp_path / 'none'}: no such folder\n"
    with pytest.raises(Mistake, match=r"holds no wheel of .*flashinfer-python.*; `pip download --no-deps` leaves such files"):
        doctor.wheels(tmp_path)
