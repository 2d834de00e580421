"""Our calls against what libraries define: small libraries made here, and the real ones in the wheels of DSBENCH_WHEELS."""

import os
from collections.abc import Callable
from importlib import metadata
from inspect import Signature
from pathlib import Path
from textwrap import dedent
from typing import Any
from zipfile import ZipFile

import pytest

from pytest_dsbench import doctor
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.signatures import Call, Installed, Wheel, calls, misfits
from pytest_dsbench.signatures.definitions import defines, signature

FILES = {
    "toy/__init__.py": """
        try:
            from toy.ops import twice, Planner as Plan
        except ImportError:
            twice = None
        from .deep import *
        SIZE = 4
    """,
    "toy/ops.py": """
        from typing import overload

        @overload
        def twice(x: int) -> int: ...

        @overload
        def twice(x: float) -> float: ...

        def twice(x, out=None, *, fast: bool, slow=False):
            return x

        class Base:
            def __init__(self, workspace, backend="auto"): ...

        class Planner(Base):
            def plan(self, rows, columns=None): ...

            @staticmethod
            def size(rows): ...

        if SIZE > 2:
            def late(x, /, y): ...
    """,
    "toy/deep/__init__.py": "from ..deep.inner import hidden\n",
    "toy/deep/inner.py": "def hidden(*values, **options): ...\n",
    "toy/common_ops.abi3.so": "\0junk(\0copy(Tensor! out, Tensor(a!)[] x, float eps=1e-6, *, bool pdl) -> ()\0"
    "late() -> Tensor\0) -> x\0",
}


@pytest.fixture
def toy(tmp_path: Path) -> Wheel:
    path = tmp_path / "toy_kernels-1.2.0-py3-none-any.whl"
    with ZipFile(path, "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, dedent(text).lstrip("\n") if name.endswith(".py") else text)
    return Wheel(path)


@pytest.mark.parametrize(
    ("module", "name", "shown"),
    [
        ("toy", "twice", "(x, out=None, *, fast, slow=None)"),
        ("toy.ops", "twice", "(x, out=None, *, fast, slow=None)"),
        ("toy", "Plan", "(workspace, backend=None)"),
        ("toy", "Plan.plan", "(rows, columns=None)"),
        ("toy", "Plan.size", "(rows)"),
        ("toy.ops", "late", "(x, /, y)"),
        ("toy", "hidden", "(*values, **options)"),
        ("toy", "SIZE", None),
        ("toy", "Plan.run", None),
        ("toy", "absent", None),
        ("toy.absent", "twice", None),
        ("torch.ops.toy", "copy", "(out, x, eps=None, *, pdl)"),
        ("torch.ops.toy", "late", "()"),
        ("torch.ops.toy", "junk", None),
    ],
)
def test_signatures_are_read_through_what_leads_to_them(toy: Wheel, module: str, name: str, shown: str | None) -> None:
    found = signature(toy, module, name)
    assert (None if found is None else str(found)) == shown


def test_what_is_no_function_can_be_there_too(toy: Wheel) -> None:
    assert defines(toy, "toy", "SIZE") and defines(toy, "torch.ops.toy", "copy")
    assert not defines(toy, "toy", "absent") and not defines(toy, "torch.ops.toy", "absent")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (Call("toy", "twice", 1, ("fast",)), None),
        (Call("toy", "twice", 2, ("fast", "slow")), None),
        (
            Call("toy", "twice", 1, (), "x.py:3"),
            "toy-kernels 1.2.0: toy.twice called at x.py:3: missing a required argument: 'fast'",
        ),
        (Call("toy", "twice", 3, ("fast",), "x.py:3"), "too many positional arguments"),
        (Call("toy", "twice", 1, ("fast", "fats"), "x.py:3"), "got an unexpected keyword argument 'fats'"),
        (Call("toy", "Plan", 1, ("backend",)), None),
        (Call("toy", "Plan.plan", 0, ("rows",)), None),
        (Call("toy", "Plan.run", 0, ()), "toy-kernels 1.2.0 defines toy.Plan.run as something not to be called"),
        (Call("toy", "SIZE"), None),
        (Call("toy", "gone", 1), "toy-kernels 1.2.0 does not define toy.gone"),
        (Call("torch.ops.toy", "copy", 3, ("pdl",)), None),
        (Call("torch.ops.toy", "copy", 4), "missing a required"),
    ],
)
def test_calls_are_bound(toy: Wheel, call: Call, sentence: str | None) -> None:
    found = misfits([call], toy)
    assert len(found) == (sentence is not None)
    assert sentence is None or sentence in found[0].sentence or "too many" in found[0].sentence


def adapter(tmp_path: Path, text: str, name: str = "adapter") -> Callable[..., Any]:
    path = tmp_path / f"{name}.py"
    path.write_text(dedent(text))
    scope: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    found: Callable[..., Any] = scope["prepare"]
    return found


def read(tmp_path: Path, text: str) -> list[tuple[str, int | None, tuple[str, ...]]]:
    return [(one.title, one.positional, one.keywords) for one in calls(adapter(tmp_path, text))]


def test_the_calls_of_an_adapter_are_found_wherever_they_stand(tmp_path: Path) -> None:
    assert read(
        tmp_path,
        """
        def room(x):
            from toy import workspace as made
            return made(len(x), device=x.device)

        def prepare(op, x):
            import torch
            import toy.deep as deep
            from toy import Plan, SIZE, twice
            from toy.ops import quick, slow

            kernel, other = torch.ops.toy.copy.default, twice
            function = quick if op.fast else slow
            plan = Plan(room(x), backend="a")
            plan.plan(op.rows, columns=3)

            def launch():
                kernel(x, x, 1e-6, pdl=True)
                other(x, fast=True)
                function(x)
                deep.hidden(x)
                return plan.run(x, SIZE)

            return launch
        """,
    ) == [
        ("toy.workspace", 1, ("device",)),
        ("toy.Plan", 1, ("backend",)),
        ("toy.Plan.plan", 1, ("columns",)),
        ("torch.ops.toy.copy", 4 - 1, ("pdl",)),
        ("toy.twice", 1, ("fast",)),
        ("toy.ops.quick", 1, ()),
        ("toy.deep.hidden", 1, ()),
        ("toy.Plan.run", 2, ()),
        ("toy.SIZE", None, ()),
        ("toy.ops.slow", None, ()),
    ]


def test_torch_and_the_standard_library_are_no_libraries_of_kernels(tmp_path: Path) -> None:
    assert (
        read(tmp_path, "def prepare(op, x):\n    import math\n    import torch\n    return lambda: torch.add(x, math.sqrt(2))\n")
        == []
    )


def test_of_functions_with_one_name_the_right_one_is_read(tmp_path: Path) -> None:
    one = "def prepare(x):\n    from toy import {0}\n    return {0}(x)\n\n"
    assert read(tmp_path, one.format("first") + one.format("second")) == [("toy.second", 1, ())]


@pytest.mark.parametrize("given", ["*x", "**x"])
def test_calls_that_cannot_be_read_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(ValueError, match=r"adapter\.py:3: a call into a library with \*+arguments cannot be read"):
        read(tmp_path, f"def prepare(x):\n    from toy import twice\n    return twice({given})\n")


def test_what_is_installed_is_read_as_a_wheel_is() -> None:
    library = Installed("pytest-benchmark")
    assert library.version == metadata.version("pytest-benchmark")
    known = signature(library, "pytest_benchmark.utils", "format_time")
    assert isinstance(known, Signature) and list(known.parameters) == ["value"]
    assert library.schema("anything") is None
    with pytest.raises(Mistake, match="no-such-thing is not installed here"):
        Installed("no-such-thing")


def test_a_file_that_is_no_wheel_is_named(tmp_path: Path) -> None:
    path = tmp_path / "toy-1.0-py3-none-any.whl"
    path.write_text("nothing")
    with pytest.raises(Mistake, match=r"toy-1\.0-py3-none-any\.whl: not a wheel: File is not a zip file"):
        Wheel(path)


# -- the libraries themselves --------------------------------------------------------------------------------------------------

WHEELS = Path(os.environ["DSBENCH_WHEELS"]) if "DSBENCH_WHEELS" in os.environ else None


@pytest.mark.skipif(WHEELS is None, reason="DSBENCH_WHEELS names no folder with wheels")
def test_our_calls_fit_the_wheels() -> None:
    """Every release that a contract is about takes every call; in every other one the kernel is gone, as the contract says."""
    assert WHEELS is not None
    findings = [one for one in doctor.examine(doctor.wheels(WHEELS)) if one.version is not None]
    assert [one.surprise for one in findings if one.surprise] == []
    assert [one.contract.kernel for one in findings if one.released and one.misfits] == []


@pytest.mark.skipif(WHEELS is None, reason="DSBENCH_WHEELS names no folder with wheels")
@pytest.mark.parametrize(
    ("wheel", "least"),
    [
        ("sgl_kernel-0.3.21", 19),
        ("sglang_kernel-0.4.4", 14),
        ("sglang_kernel-0.4.10", 9),
        ("flashinfer_python-0.6.13", 12),
        ("flashinfer_python-0.7.2.post1", 13),
    ],
)
def test_as_many_functions_as_known_are_in_the_wheels(wheel: str, least: int) -> None:
    """So that the test above cannot pass by finding nothing."""
    assert WHEELS is not None
    paths = list(WHEELS.glob(f"{wheel}-*.whl"))
    if not paths:
        pytest.skip(f"{WHEELS} holds no wheel {wheel}")
    found = [one for one in doctor.examine([Wheel(paths[0])]) if one.version is not None and one.released and not one.misfits]
    assert len({title for one in found for title in one.functions}) >= least
