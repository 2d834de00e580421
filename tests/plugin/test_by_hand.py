"""A bench written by hand, with the `dsbench` fixture."""

from textwrap import dedent

import pytest
from project import Project

ADD = """
import pytest
from pytest_dsbench import Tolerance, Work


def work(rows):
    return Work(read=64 * rows, written=32 * rows, flop={"fp32": 8 * rows})


def pair(new, rows):
    return {"x": new.normal((rows, 8), "fp32"), "y": new.normal((rows, 8), "fp32")}
"""


def add(project: Project, bench: str) -> None:
    """A file with one bench."""
    project.file("bench_add.py", ADD.lstrip() + "\n\n" + dedent(bench).lstrip("\n"))


def test_parametrized(project: Project) -> None:
    add(
        project,
        """
        @pytest.mark.parametrize("rows", [4, 64])
        def bench_add(dsbench, rows):
            found = dsbench(
                inputs=lambda new: pair(new, rows),
                launch=lambda x, y: x + y,
                reference=lambda x, y: x.double() + y.double(),
                work=work(rows),
            )
            assert found.time.median > 0
        """,
    )
    found = project.run()
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 2})
    first, second = project.records()
    assert (first.case.name, second.case.name) == ("add[4] own", "add[64] own")
    assert (first.case.dims, first.case.where) == ({"rows": 4}, "bench_add.py:13")
    assert second.work is not None and (second.work.read, second.work.written) == (4096, 2048)
    assert first.correctness is not None and set(first.correctness.worst) == {"out"}
    assert first.ran == ("aten.add",)


def test_in_place_inputs_are_restored_and_declared(project: Project) -> None:
    bench = """
        def bench_add(dsbench):
            dsbench(
                inputs=lambda new: pair(new, 4),
                launch=lambda x, y: x.add_(y),
                reference=lambda x, y: x.double() + y.double(),
                work=work(4),
                inplace=("x",),
            )
        """
    add(project, bench)
    found = project.run()
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 1})
    add(project, bench.replace('inplace=("x",),', ""))
    project.check().says(
        "bench_add.py:13: add own: provider 'own' changed its input 'x';"
        " declare it with inplace=('x',) if the kernel works in place"
    )


BOTH = """
    def bench_both(dsbench):
        dsbench(
            inputs=lambda new: pair(new, 4),
            launch=lambda x, y: (x + y, x - y),
            reference=lambda x, y: (x.double() + y.double(), x.double() - y.double()),
            work=work(4),
            tolerance={"sum": Tolerance(rtol=1e-6, atol=1e-6), "difference": Tolerance(rtol=1e-6, atol=1e-6)},
        )
    """


def test_a_tolerance_for_each_output(project: Project) -> None:
    add(project, BOTH)
    assert project.check().counts == {"passed": 1}
    (record,) = project.records()
    assert record.correctness is not None and set(record.correctness.worst) == {"sum", "difference"}


def test_the_output_that_is_wrong_is_named(project: Project) -> None:
    add(project, BOTH.replace("x - y)", "y - x)"))
    found = project.check()
    found.plain()
    assert "bench_add.py:13: both own: provider 'own' output 'difference' is wrong: |o - r| = " in found.text


def test_a_tolerance_that_does_not_name_all_outputs(project: Project) -> None:
    add(project, BOTH.replace('"difference": Tolerance(rtol=1e-6, atol=1e-6)', ""))
    found = project.check()
    found.says("bench_add.py:13: both own: the reference returns 2 outputs and tolerance names 1 (sum); name all, in order")
    assert found.counts == {"failed": 1}


@pytest.mark.parametrize("values", ["int(x.sum()) * 0 + ", "x.tolist() and "])
def test_a_reference_that_looks_at_values(project: Project, values: str) -> None:
    add(
        project,
        f"""
        def bench_add(dsbench):
            dsbench(
                inputs=lambda new: pair(new, 4),
                launch=lambda x, y: x + y,
                reference=lambda x, y: {values}(x.double() + y.double()),
                work=work(4),
            )
        """,
    )
    assert project.check().counts == {"passed": 1}


def test_one_that_measures_nothing_fails(project: Project) -> None:
    add(project, "def bench_nothing(dsbench):\n    pass\n")
    found = project.check()
    found.says("bench_nothing asks for dsbench and measures nothing; call dsbench(inputs=..., ...)")
    assert (found.code, found.counts) == (1, {"failed": 1})


def test_measure_is_not_for_it(project: Project) -> None:
    add(project, "def bench_nothing(dsbench):\n    dsbench.measure()\n")
    project.check().says("dsbench.measure() is for benches made by bench(Operator); a bench by hand calls dsbench(...)")


def test_two_measurements_in_one_bench_are_two_records(project: Project) -> None:
    add(
        project,
        """
        def bench_twice(dsbench):
            for rows in (4, 8):
                dsbench(
                    inputs=lambda new: pair(new, rows),
                    launch=lambda x, y: x + y,
                    reference=lambda x, y: x.double() + y.double(),
                    work=work(rows),
                )
        """,
    )
    assert project.run().counts == {"passed": 1}
    first, second = project.records()
    assert first.work is not None and second.work is not None
    assert (first.work.written, second.work.written) == (128, 256)
    assert (first.case.name, second.case.name) == ("twice own", "twice[#2] own")
    end = project.read().end
    assert end is not None and (end.planned, end.produced, end.not_run) == (1, 2, ())


def test_a_measurement_in_a_fixture_is_a_record(project: Project) -> None:
    add(
        project,
        """
        @pytest.fixture
        def measured(dsbench):
            return dsbench(
                inputs=lambda new: pair(new, 4),
                launch=lambda x, y: x * y,
                reference=lambda x, y: x.double() + y.double(),
                work=work(4),
            )


        def bench_add(measured):
            pass
        """,
    )
    found = project.check()
    assert (found.code, found.counts) == (1, {"errors": 1})
    (record,) = project.records()
    assert record.status == "failed"


def test_two_of_the_same_name_do_not_share_their_inputs(project: Project) -> None:
    bench = """
        def bench_add(dsbench):
            dsbench(
                inputs=lambda new: pair(new, 4),
                launch=lambda x, y: x + y,
                reference=lambda x, y: x.double() + y.double(),
                work=work(4),
            )
        """
    add(project, bench)
    (project.path / "bench_add.py").rename(project.path / "bench_other.py")
    add(project, bench.replace("4", "5"))
    assert project.check().counts == {"passed": 2}
