"""The web page as a file: its figures are those of the records, it asks for nothing, and hostile text stays text."""

import base64
import hashlib
import html
import json
import re
from collections import Counter
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="the page needs pytest-dsbench[report]")
pytest.importorskip("bokeh", reason="the page needs pytest-dsbench[report]")

import reported

from pytest_dsbench.measurement import Measurement
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import CATEGORIES
from pytest_dsbench.report import page
from pytest_dsbench.report.page import assembly
from pytest_dsbench.report.page import data as packing
from pytest_dsbench.report.page.figure import figures
from pytest_dsbench.results import Collection, collect
from pytest_dsbench.verdict import Verdict

#: What somebody might call a case to break the page.
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u2028\u2029<!--<script>{{ 7*7 }}\u202e"


class Elements(HTMLParser):
    """The elements of a page with their attributes, as an HTML parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def script(text: str, name: str) -> str:
    """What is inside of the script element of that id."""
    (found,) = re.findall(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', text, re.DOTALL)
    return str(found)


def data_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(script(text, "data"))
    return found


def shown(text: str) -> str:
    """What a reader reads of the part that is there without its script."""
    body = text.partition("<body>")[2].partition("<script")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def rendered(*paths: Path) -> tuple[Collection, str]:
    found = collect(paths)
    return found, page.render(found).decode()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, str]:
    """Sixty cases on two devices, twice on one of them."""
    folder = tmp_path_factory.mktemp("runs")
    first, later = reported.header("h200"), reported.header("h200", started="2026-11-03T01:00:00", driver="581.2")
    other = reported.header("b200", started="2026-11-02T01:00:00")
    return rendered(
        reported.run_of(folder, first, reported.bounded(first, 60)),
        reported.run_of(folder, later, reported.bounded(later, 60), lambda case, number: 0.9 * reported.spread(case, number)),
        reported.run_of(folder, other, reported.bounded(other, 60), provider="flashinfer"),
    )


def test_figures_are_those_of_the_records(both: tuple[Collection, str]) -> None:
    collection, text = both
    data = data_of(text)
    columns, texts = data["records"], data["texts"]
    assert len(columns["case"]) == len(collection.latest) == 120
    for number, one in enumerate(collection.latest):
        row = {name: values[number] for name, values in columns.items()}
        of_case = {name: values[row["case"]] for name, values in data["cases"].items()}
        measured = one.measurement
        assert measured.time is not None
        assert measured.work is not None
        assert measured.bound is not None
        seconds = measured.time.median
        assert texts[of_case["operator"]] == one.case.operator
        assert texts[of_case["label"]] == one.case.label
        assert texts[of_case["provider"]] == one.case.provider
        assert data["categories"][of_case["category"]] == one.category
        assert data["devices"][row["device"]]["key"] == one.device
        assert texts[row["run"]] == one.run
        assert data["statuses"][row["status"]] == "passed"
        assert row["counts"] == 1
        expected = {
            "seconds": seconds,
            "low": 0.98 * seconds,
            "high": 1.02 * seconds,
            "t_sol": measured.bound.seconds,
            "efficiency": measured.bound.seconds / seconds,
            "flops": sum(measured.work.flop.values()) / seconds,
            "bytes": (measured.work.read + measured.work.written) / seconds,
            "bandwidth": (measured.work.read + measured.work.written) / seconds / one.hardware.bandwidth,
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_only_roofs_that_a_case_uses(both: tuple[Collection, str]) -> None:
    collection, text = both
    for device, there in zip(data_of(text)["devices"], collection.devices, strict=True):
        used = {unit for one in there.latest for unit in one.measurement.work.flop} if there.latest else set()
        assert set(device["peak"]) == used
        assert used < set(there.hardware.peak)
        assert device["peak"]["bf16"] == pytest.approx(there.hardware.peak["bf16"], rel=1e-5)


def test_runs_are_there_to_be_compared(both: tuple[Collection, str]) -> None:
    collection, text = both
    data = data_of(text)
    older, newer = collection.devices[0].sources
    # The other device has one run, which its newest results are.
    assert [side["name"] for side in data["sides"]] == [older.name, newer.name]
    assert data["left_out"] == []
    labels = [data["texts"][number] for number in data["cases"]["label"]]
    for side, source in zip(data["sides"], (older, newer), strict=True):
        times = dict(zip([labels[number] for number in side["case"]], side["seconds"], strict=True))
        for one in source.results:
            assert times[one.case.label] == pytest.approx(one.seconds, rel=1e-5)


def test_environment_says_what_differs(both: tuple[Collection, str]) -> None:
    _, text = both
    assert re.search(r'<td class="changed">581\.2<div class="was">.*?was 580\.1</div></td>', text)
    assert "The same in all runs" in shown(text)
    assert "runs of 2 devices, which are kept apart" in shown(text)


def test_it_asks_for_nothing_from_elsewhere(both: tuple[Collection, str]) -> None:
    _, text = both
    elements = Elements(text).found
    assert not [one for one in elements if one[0] in ("link", "img", "iframe", "base", "object", "embed")]
    assert not [attributes for _, attributes in elements if "src" in attributes or "srcset" in attributes]
    assert {a["href"] for tag, a in elements if tag == "a"} <= {"#overview", "#cases", "#compare", "#environment"}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|url\(", text.partition("<style>")[2].partition("</style>")[0])


def test_only_its_own_scripts_may_run(both: tuple[Collection, str]) -> None:
    _, text = both
    (policy,) = [a["content"] or "" for tag, a in Elements(text).found if tag == "meta" and "http-equiv" in a]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    (app,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (app, script(text, "library"))]
    assert rules["script-src"].split() == [f"'sha256-{one}'" for one in hashes]


def test_every_id_is_there_once(both: tuple[Collection, str]) -> None:
    _, text = both
    elements = Elements(text).found
    ids = Counter(attributes["id"] for _, attributes in elements if "id" in attributes)
    assert set(ids.values()) == {1}
    named = {name for _, a in elements for key in ("aria-labelledby", "for") for name in (a.get(key) or "").split()}
    assert named <= set(ids)


def test_published_times(tmp_path: Path) -> None:
    collection, text = rendered(reported.published(tmp_path))
    data = data_of(text)
    assert len(data["records"]["case"]) == 440
    # One sample has no interval.
    assert set(data["records"]["low"]) == {None}
    efficiencies = [one.measurement.efficiency for one in collection.latest]
    assert median(data["records"]["efficiency"]) == pytest.approx(median(filter(None, efficiencies)), rel=1e-5)
    words = shown(text)
    assert "440 results of 30 operators" in words
    assert "measured elsewhere, not checked here" in words
    assert "30 of 30 operators, importance 1.09478 of 1.09478" in words
    assert "30 of 30 pass" in words


def test_score_is_computed_by_hand(tmp_path: Path) -> None:
    head = reported.header()
    found = [case for case in reported.cases() if case.op.name == "silu_and_mul" and case.provenance.id is not None][:3]
    weight = found[0].importance
    assert weight is not None
    _, text = rendered(reported.run_of(tmp_path, head, found, lambda case, number: (0.2, 0.5, 0.9)[number]))
    assert f"50.00 % normalised {100 * 0.5 * weight:.2f} % raw 1 of 30 operators, importance {weight:.5f} of 1.09478" in shown(
        text
    )


def mixed(folder: Path) -> Path:
    """Cases that came to every kind of end."""
    head = reported.header()
    found = reported.bounded(head, 8)
    wrong = {"efficiency": None, "status": "failed", "reason": "out differs from the reference"}
    return reported.write(
        folder,
        head,
        [
            reported.record(found[0], head),
            reported.record(found[1], head, None, status="checked"),
            reported.record(found[2], head, **wrong),  # type: ignore[arg-type]
            reported.record(found[3], head, None, status="skipped", reason="T_SOL 1.9 s over the budget of 0.5 s"),
            reported.record(found[4], head, None, status="skipped", reason="T_SOL 2.5 s over the budget of 0.5 s"),
            reported.record(found[5], head, None, status="not_run", reason="the run was interrupted"),
            reported.record(found[6], head, 0.4, cold=False),
            reported.record(found[7], head, 0.4, status="noisy_host", reason="3 of 4 batches discarded: noise 3x"),
        ],
    )


def test_coverage_and_kernels(tmp_path: Path) -> None:
    collection, text = rendered(mixed(tmp_path))
    words = shown(text)
    for part in ("2 timed", "1 timed, disturbed", "1 checked, not timed", "1 failed", "2 skipped", "1 not run"):
        assert part in words, part
    # The same reason with two quantities is one.
    assert "2 skipped T_SOL over the budget of 0.5 s" in words
    assert "1 failed out differs from the reference" in words
    assert "1 was timed from a warm cache and does not count" in words
    (kernel,) = {one.kernel for one in collection.latest}
    assert f"0 of 1 pass A kernel passes where a case of it is right and none fails. ✗ 1 fail: {kernel}" in words
    records = data_of(text)["records"]
    assert records["counts"] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert [records["seconds"][number] is None for number in range(8)] == [False, True, True, True, True, True, False, False]


def test_launches_among_what_counts(tmp_path: Path) -> None:
    head = reported.header()
    one, two, three = reported.bounded(head, 3)
    notes = ("floor-bound: less than three empty launches",)
    lines = [
        reported.record(one, head, notes=notes),
        reported.record(two, head),
        reported.record(three, head, status="invalid", reason="too fast", notes=notes),
    ]
    _, text = rendered(reported.write(tmp_path, head, lines))
    assert "1 of 2 that count takes less than three empty launches" in shown(text)


def judged(case: Any, outcome: str, **more: Any) -> Verdict:
    found: Measurement = reported.record(case, reported.header())
    return Verdict(case=found.case, outcome=outcome, **more)  # type: ignore[arg-type]


def test_verdicts(tmp_path: Path) -> None:
    head = reported.header()
    found = reported.bounded(head, 4)
    figures = {"efficiency_then": 0.5, "efficiency_now": 0.4, "change": 0.2231435513, "low": 0.21, "high": 0.23, "allowed": 0.015}
    path = reported.write(
        tmp_path,
        head,
        [
            *(reported.record(case, head) for case in found),
            judged(found[0], "regressed", **figures, changed=("driver 570.1 -> 580.2",)),
            *(judged(case, "same") for case in found[1:]),
        ],
    )
    words = shown(rendered(path)[1])
    assert "1 ✗ regressed 3 same" in words
    assert "50.0 % → 40.0 %" in words
    assert "+25.0 % (+23.4 % ... +25.9 %)" in words
    assert "+1.5 %" in words
    assert "also changed: driver 570.1 -> 580.2" in words


def test_without_verdicts_the_gate_is_not_mentioned(both: tuple[Collection, str]) -> None:
    assert "What fails the gate" not in both[1]
    assert "<h3>Gate</h3>" not in both[1]


def test_hostile_text_is_text(tmp_path: Path) -> None:
    head = reported.header(driver=HOSTILE).replace(arguments=(HOSTILE,), notes=(HOSTILE,))
    case = reported.bounded(head, 1)[0]
    record = reported.record(case, head, None, status="failed", reason=HOSTILE, notes=(HOSTILE,), packages={HOSTILE: "1"})
    record = record.replace(case=record.case.replace(label=HOSTILE, where=HOSTILE, tags=(HOSTILE,), provider=HOSTILE))
    verdict = Verdict(case=record.case, outcome="regressed", why=HOSTILE)
    _, text = rendered(reported.write(tmp_path, head, [record, verdict]))
    harmless = Elements(rendered(mixed(tmp_path))[1]).found
    elements = Elements(text).found
    assert "img" not in {tag for tag, _ in elements}
    # A parser sees no script and no attribute that was not there before.
    assert Counter(tag for tag, _ in elements)["script"] == Counter(tag for tag, _ in harmless)["script"] == 4
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    assert "49" not in shown(text).partition("What fails the gate")[2].partition("{{")[0]
    data = data_of(text)
    assert data["texts"].count(HOSTILE) == 1
    inside = script(text, "data")
    assert not set("<>&\u2028\u2029") & set(inside)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    assert packing.digits(float("nan")) is None
    assert packing.digits(float("inf")) is None
    assert packing.digits(None) is None
    assert packing.digits(0.0) == 0.0
    assert packing.digits(123456789.0) == 123457000.0
    head = reported.header()
    record = reported.record(reported.bounded(head, 1)[0], head)
    assert record.time is not None
    zero = record.replace(time=record.time.replace(median=0.0, low=0.0, high=0.0), efficiency=None)
    records = data_of(rendered(reported.write(tmp_path, head, [zero]))[1])["records"]
    assert (records["seconds"], records["flops"], records["efficiency"]) == ([0.0], [None], [None])


def test_one_case(tmp_path: Path) -> None:
    head = reported.header()
    collection, text = rendered(reported.run_of(tmp_path, head, reported.bounded(head, 1)))
    assert data_of(text)["sides"] == []
    assert "1 results of" not in shown(text)
    assert "1 run," in shown(text)
    assert collection.devices[0].sources[0].path in shown(text)


def test_an_empty_collection_makes_a_page() -> None:
    text = page.render(Collection(devices=(), remarks=("nothing was read",))).decode()
    assert data_of(text)["records"]["case"] == []
    assert "nothing was read" in shown(text)


def thousand(folder: Path) -> Collection:
    """A thousand cases in each of ten runs."""
    head = reported.header("b200")
    found = reported.bounded(head)
    records = [
        reported.record(case, head, reported.spread(case, number), provider)
        for provider in ("triton", "flashinfer")
        for number, case in enumerate(found)
    ][:1000]
    (device,) = collect([reported.write(folder, head, records)]).devices
    (source,) = device.sources
    sources = [
        source.replace(name=f"{day:02}", path=f"runs/{day:02}.jsonl", header=head.replace(started=f"2026-11-{day:02}T01:00:00"))
        for day in range(1, 11)
    ]
    return Collection(devices=(device.replace(sources=tuple(sources)),))


def test_a_thousand_cases_stay_below_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = thousand(tmp_path)
    whole = page.render(collection)
    assert len(whole) < 5_000_000
    data = data_of(whole.decode())
    assert len(data["records"]["case"]) == 1000
    assert [len(side["case"]) for side in data["sides"]] == [1000] * 10
    assert data["left_out"] == []

    monkeypatch.setattr(assembly, "LIMIT", len(whole) - 100_000)
    smaller = page.render(collection)
    assert len(smaller) <= len(whole) - 100_000
    data = data_of(smaller.decode())
    # The oldest are left out, and named.
    assert 0 < len(data["left_out"]) < 9
    kept = [side["name"] for side in data["sides"]]
    assert sorted([*data["left_out"], *kept]) == [f"{day:02}" for day in range(1, 11)]
    assert max(data["left_out"]) < min(kept)
    assert len(data["records"]["case"]) == 1000


def test_write_replaces_the_file_as_a_whole(both: tuple[Collection, str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "index.html"
    page.write(both[0], path)
    page.write(both[0], path)
    assert path.read_text(encoding="utf-8") == both[1]
    assert [one.name for one in path.parent.iterdir()] == ["index.html"]


def test_write_says_where_it_cannot(both: tuple[Collection, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match=r"index\.html: cannot be written: "):
        page.write(both[0], tmp_path / "file" / "index.html")
    (tmp_path / "index.html").mkdir()
    with pytest.raises(Mistake, match=r"index\.html: cannot be written: "):
        page.write(both[0], tmp_path / "index.html")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "index.html"]


def test_a_missing_library_is_named(both: tuple[Collection, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(
        Mistake, match=r"the web page needs jinja2, which is not installed; pip install 'pytest-dsbench\[report\]'"
    ):
        page.write(both[0], tmp_path / "index.html")
    assert not (tmp_path / "index.html").exists()


def test_every_category_has_a_look_of_its_own_and_a_mark_in_the_legend() -> None:
    looks = figures([*CATEGORIES, "mine", "yours"])["looks"]
    assert (
        len({(look["light"], look["mark"]) for look in looks})
        == len({look["dark"] + look["mark"] for look in looks})
        == len(looks)
    )
    drawn = (files("pytest_dsbench.report.page") / "roofline.js").read_text()
    marks = drawn.split("const MARKS = {")[1].split("};")[0]
    assert all(f"{look['mark']}: '" in marks for look in looks)
    # Not by what else is there: a category keeps its look from report to report.
    assert figures(["norm"])["looks"] == [looks[CATEGORIES.index("norm")]]
