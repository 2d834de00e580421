"""The web page in a real browser, without a screen: it opens, and what a reader does with it works.

Skipped where there is no Chromium or no playwright; DSBENCH_CHROMIUM=required makes that a failure.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import reported

from pytest_dsbench.report import page as report
from pytest_dsbench.results import Collection, Comparison, collect, compare
from pytest_dsbench.verdict import Verdict

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u2028@name{safe} &lt;b&gt;"

#: A page that is open: made from a file, with more keywords of a browser context.
Open = Callable[..., Any]


def missing() -> str | None:
    """Why there is no browser to look with."""
    packages = [name for name in ("playwright", "bokeh", "jinja2") if find_spec(name) is None]
    if packages:
        return f"not installed: {', '.join(packages)}"
    return None if any(map(shutil.which, _NAMES)) else f"none of {', '.join(_NAMES)} is on the path"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    reason = missing()
    if reason and os.environ.get("DSBENCH_CHROMIUM") == "required":
        pytest.fail(f"DSBENCH_CHROMIUM=required, and {reason}")
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, _NAMES)))
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield found
        found.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Opens a page. In the end, nothing may have been said on the console, have failed, or have been asked of the network."""
    contexts, said = [], []

    def visit(path: Path, address: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, "reduced_motion": "reduce", **options})
        contexts.append(context)
        one = context.new_page()
        one.set_default_timeout(20_000)
        one.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        one.on("pageerror", lambda error: said.append(f"{error}"))
        one.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        one.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
        one.on("request", lambda request: None if request.url.startswith("file://") else said.append(f"asked: {request.url}"))
        one.goto(f"{path.as_uri()}{address}")
        one.wait_for_selector("html[data-drawn]", state="attached")
        one.wait_for_selector("#compare-body > *", state="attached")
        return one

    yield visit
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Path]:
    """Cases on two devices, twice on one of them."""
    folder = tmp_path_factory.mktemp("runs")
    first, later = reported.header("h200"), reported.header("h200", started="2026-11-03T01:00:00", driver="581.2")
    other = reported.header("b200", started="2026-11-02T01:00:00")
    found = reported.bounded(first)[::8]

    def slower(case: Any, number: int) -> float:
        return reported.spread(case, number) / (1.2 if number % 3 == 0 else 0.9 if number % 3 == 1 else 1.01)

    collection = collect(
        [
            reported.run_of(folder, first, found),
            reported.run_of(folder, later, found, slower),
            reported.run_of(folder, other, found[5:], lambda case, number: 0.8 * reported.spread(case, number)),
        ]
    )
    path = folder / "index.html"
    report.write(collection, path)
    return collection, path


def column(page: Any, table: str, title: str) -> list[str]:
    """The texts of the column of that title."""
    found: list[str] = page.evaluate(
        """([table, title]) => {
          const one = document.querySelector(table);
          const place = [...one.tHead.rows[0].cells].findIndex((cell) => cell.textContent === title);
          return [...one.tBodies[0].rows].filter((row) => row.cells.length > 1).map((row) => row.cells[place].textContent);
        }""",
        [table, title],
    )
    assert found
    return found


def tooltip(page: Any) -> str:
    """What the box at the pointer says."""
    page.wait_for_selector(".bk-Tooltip b, .bk-Tooltip div div")
    return "\n".join(page.locator(".bk-Tooltip div").all_inner_texts())


def figures(texts: list[str]) -> list[float]:
    """The numbers in front of each text; what is empty is left out."""
    return [float(found[0].replace(",", "")) for text in texts if (found := re.match(r"[\d.,]+", text))]


def sort_button(page: Any, table: str, title: str) -> Any:
    return page.locator(f"{table} > thead").get_by_role("button", name=title, exact=True)


def test_tables_and_plots_are_there(both: tuple[Collection, Path], visit: Open, tmp_path: Path) -> None:
    collection, path = both
    page = visit(path)
    groups = {(one.case.operator, one.case.provider, one.device) for one in collection.latest}
    assert page.locator(".groups .opener").count() == len(groups)
    assert page.locator("#count").inner_text() == f"{len(collection.latest)} cases"
    assert page.locator("#roofline-plot canvas").count() > 0
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_sorting_puts_numbers_in_order(both: tuple[Collection, Path], visit: Open) -> None:
    page = visit(both[1])
    head = page.locator(".groups > thead th", has_text="T of worst, µs")
    button = sort_button(page, ".groups", "T of worst, µs")
    assert head.get_attribute("aria-sort") == "none"
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    times = figures(column(page, ".groups", "T of worst, µs"))
    assert len(set(times)) > 10
    assert times == sorted(times, reverse=True)
    # As words they would stand in another order.
    assert times != sorted(times, key=str, reverse=True)
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert figures(column(page, ".groups", "T of worst, µs")) == sorted(times)
    assert button.evaluate("one => one === document.activeElement")


def test_sorting_is_stable_and_what_is_empty_is_last(both: tuple[Collection, Path], visit: Open) -> None:
    page = visit(both[1])
    sort_button(page, ".groups", "Operator").click()
    sort_button(page, ".groups", "Device").click()
    pairs = list(zip(column(page, ".groups", "Device"), column(page, ".groups", "Operator"), strict=True))
    assert [device for device, _ in pairs] == sorted(device for device, _ in pairs)
    for device in ("b200", "h200"):
        names = [name.lstrip("▸ ") for one, name in pairs if one == device]
        assert names == sorted(names)
    button = sort_button(page, ".groups", "Importance")
    for _ in range(2):
        button.click()
        texts = column(page, ".groups", "Importance")
        empty = [text == "–" for text in texts]
        assert True in empty
        assert empty == sorted(empty)


def test_filters_count(both: tuple[Collection, Path], visit: Open) -> None:
    collection, path = both
    page = visit(path)
    page.fill("#f-text", "Matmul H200")
    wanted = [one for one in collection.latest if one.case.operator == "matmul" and one.device == "h200"]
    assert 0 < len(wanted) < len(collection.latest)
    assert page.locator("#count").inner_text() == f"{len(wanted)} of {len(collection.latest)} cases"
    # What is left alone opens by itself.
    assert page.locator(".cases tbody tr").count() == len(wanted)
    page.fill("#f-text", "")
    page.select_option("#f-category", "gemm")
    page.select_option("#f-device", "b200")
    wanted = [one for one in collection.latest if one.category == "gemm" and one.device == "b200"]
    assert page.locator("#count").inner_text() == f"{len(wanted)} of {len(collection.latest)} cases"
    assert set(column(page, ".groups", "Category")) == {"gemm"}
    assert page.evaluate("Bokeh.documents[0].get_model_by_name('point source').data.x.length") == len(wanted)
    page.fill("#f-text", "no such thing")
    assert page.locator("#count").inner_text() == f"0 of {len(collection.latest)} cases"
    assert "No case matches" in page.locator(".groups tbody").inner_text()
    page.click("#f-reset")
    page.wait_for_timeout(50)
    assert page.locator("#count").inner_text() == f"{len(collection.latest)} cases"


def test_a_row_opens_into_its_cases(both: tuple[Collection, Path], visit: Open) -> None:
    collection, path = both
    page = visit(path)
    button = page.locator('.opener[data-focus="rms_norm|triton|h200"]')
    panel = page.locator(f"#{button.get_attribute('aria-controls')}")
    assert page.locator(".cases").count() == 0
    for turn in (button.click, lambda: button.press("Enter"), lambda: button.press(" ")):
        turn()
        assert button.get_attribute("aria-expanded") == "true"
        assert panel.is_visible()
        turn()
        assert button.get_attribute("aria-expanded") == "false"
        assert not panel.is_visible()
    button.click()
    wanted = [one for one in collection.latest if one.case.operator == "rms_norm" and one.device == "h200"]
    assert panel.locator("tbody tr").count() == len(wanted) > 1
    times = dict(zip(column(page, ".cases", "Case"), figures(column(page, ".cases", "T,\u00a0µs")), strict=True))
    assert times == pytest.approx({one.case.label: 1e6 * (one.seconds or 0) for one in wanted}, rel=6e-3)
    assert wanted[0].case.where in panel.inner_text()


def isolated(page: Any) -> dict[str, Any]:
    """The drawn record that is farthest from all others, and where it is."""
    found: dict[str, Any] = page.evaluate(
        """() => {
          const drawn = dsbench.records.filter((one) => one.device === 0 && one.flops);
          const all = drawn.map((one) => ({ one, at: dsbench.placeOf(one.id) }));
          const gap = (a) => Math.min(...all.filter((b) => b !== a).map((b) => Math.hypot(a.at.x - b.at.x, a.at.y - b.at.y)));
          const best = all.reduce((most, a) => (gap(a) > gap(most) ? a : most));
          return { ...best.at, name: best.one.case.name, provider: best.one.case.provider, id: best.one.id, gap: gap(best) };
        }"""
    )
    return found


def test_a_point_says_what_it_is(both: tuple[Collection, Path], visit: Open) -> None:
    page = visit(both[1])
    page.locator("#roofline-plot").scroll_into_view_if_needed()
    point = isolated(page)
    assert point["gap"] > 15
    assert page.locator(".bk-Tooltip").count() == 0
    page.mouse.move(point["x"], point["y"])
    said = tooltip(page)
    assert point["name"] in said
    assert point["provider"] in said
    record = both[0].latest[point["id"]]
    assert re.search(r"T_SOL [\d.]+ [mµn]?s", said)
    assert f"efficiency {100 * (record.efficiency or 0):.1f} %" in said
    # Chosen, it opens its row.
    page.mouse.click(point["x"], point["y"])
    page.wait_for_selector(".found")
    assert record.case.label in page.locator(".found").inner_text()


def test_the_legend_hides_a_category(both: tuple[Collection, Path], visit: Open) -> None:
    collection, path = both
    page = visit(path)
    count = "Bokeh.documents[0].get_model_by_name('point source').data.x.length"
    before = page.evaluate(count)
    button = page.locator("#roofline-legend button", has_text="norm")
    norms = [one for one in collection.devices[0].latest if one.category == "norm"]
    assert button.inner_text().strip() == f"norm {len(norms)}"
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert page.evaluate(count) == before - len(norms)
    button.press("Enter")
    assert page.evaluate(count) == before


def test_the_roofs_are_those_of_the_sheet(both: tuple[Collection, Path], visit: Open) -> None:
    collection, path = both
    page = visit(path)
    for device in collection.devices:
        page.select_option("#p-device", device.key)
        ridges = page.evaluate("Bokeh.documents[0].get_model_by_name('ridges').data")
        used = {unit for one in device.latest for unit in one.measurement.work.flop}  # type: ignore[union-attr]
        peaks = sorted({device.hardware.peak[unit] for unit in used})
        assert sorted(ridges["y"]) == pytest.approx(peaks, rel=1e-5)
        assert sorted(ridges["x"]) == pytest.approx([peak / device.hardware.bandwidth for peak in peaks], rel=1e-5)


def test_two_sides_are_compared(both: tuple[Collection, Path], visit: Open) -> None:
    (h200, b200), path = both[0].devices, both[1]
    page = visit(path)
    look_at_comparison(page, compare(h200.latest, b200.latest))
    page.get_by_role("button", name="Swap").click()
    look_at_comparison(page, compare(b200.latest, h200.latest))
    for side, source in zip(("#c-first", "#c-second"), h200.sources, strict=True):
        page.select_option(side, f"run h200 {source.name}")
    look_at_comparison(page, compare(h200.sources[0].results, h200.sources[1].results))


def look_at_comparison(page: Any, expected: Comparison) -> None:
    clear = [pair.ratio for pair in expected.pairs if pair.clear]
    numbers = {
        "common cases": len(expected.pairs),
        "the second is faster": sum(ratio < 1 for ratio in clear),
        "the second is slower": sum(ratio > 1 for ratio in clear),
        "unclear: the intervals meet": len(expected.pairs) - len(clear),
        "only in the first": expected.only_first,
        "only in the second": expected.only_second,
    }
    assert len(expected.pairs) > len(clear) > 0
    for title, value in numbers.items():
        figure = page.locator("#compare-said dl div", has_text=title).locator("dd").inner_text()
        assert int(re.sub(r"\D", "", figure)) == value, title
    assert page.locator("#compare-said dd").first.inner_text() == f"{expected.middle:.3f}"
    ratios = figures(column(page, ".pairs", "Second / first"))
    assert ratios == sorted(ratios, reverse=True)
    assert ratios == pytest.approx(sorted((pair.ratio for pair in expected.pairs), reverse=True)[:200], rel=6e-3)


def test_a_view_can_be_shared(both: tuple[Collection, Path], visit: Open) -> None:
    path = both[1]
    page = visit(path)
    page.fill("#f-text", "norm h200")
    sort_button(page, ".groups", "Worst").click()
    page.locator(".opener").first.click()
    address = page.evaluate("location.hash")
    other = visit(path, address)
    for seen in ("#count", ".groups > tbody"):
        assert other.locator(seen).inner_text() == page.locator(seen).inner_text()
    assert other.locator(".cases").count() == 1
    # An address of another time names what is not here.
    strange = visit(path, "#category=gone&sort=nothing&open=a%0Ab&first=x&plot=y&device=z")
    assert strange.locator("#count").inner_text() == f"{len(both[0].latest)} cases"


def ground(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_dark_mode(both: tuple[Collection, Path], visit: Open) -> None:
    page = visit(both[1])
    light = ground(page)
    assert sum(map(int, re.findall(r"\d+", light)[:3])) > 600
    border = "Bokeh.documents[0].get_model_by_name('roofline').border_fill_color"
    plot = page.evaluate(border)
    page.emulate_media(color_scheme="dark")
    assert sum(map(int, re.findall(r"\d+", ground(page))[:3])) < 150
    assert page.evaluate(border) != plot
    # By hand: light, whatever the system has.
    page.locator("#theme").press("Enter")
    assert page.locator("#theme").inner_text() == "☀ Light"
    assert ground(page) == light
    assert page.evaluate(border) == plot


def test_a_narrow_screen(both: tuple[Collection, Path], visit: Open, tmp_path: Path) -> None:
    page = visit(both[1], viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator(".opener").first.click()
    assert page.locator(".cases").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    # Nothing but the inside of what scrolls is wider than the screen.
    wide = page.evaluate(
        """() => [...document.querySelectorAll('body *:not(.skip)')]
            .filter((one) => !one.parentElement.closest('.scroll, nav, svg') && one.getBoundingClientRect().right > 360.5)
            .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('main *')]
            .filter((one) => one.innerText).map((one) => parseFloat(getComputedStyle(one).fontSize))"""
    )
    assert min(sizes) >= 12
    page.screenshot(path=tmp_path / "narrow.png")


def test_by_keyboard_alone(both: tuple[Collection, Path], visit: Open) -> None:
    page = visit(both[1])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "f-text"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_hostile_text_stays_text(visit: Open, tmp_path: Path) -> None:
    head = reported.header(driver=HOSTILE)
    case = next(case for case in reported.bounded(head) if case.op.work().flops)
    good = reported.record(case, head, notes=(HOSTILE,), packages={HOSTILE: "1"})
    good = good.replace(case=good.case.replace(label=HOSTILE, provider=HOSTILE, where=HOSTILE, category=HOSTILE, tags=(HOSTILE,)))
    bad = reported.record(reported.bounded(head, 1)[0], head, None, status="failed", reason=HOSTILE)
    verdict = Verdict(case=bad.case, outcome="regressed", why=HOSTILE)
    collection = collect([reported.write(tmp_path, head, [good, bad, verdict])])
    report.write(collection, tmp_path / "index.html")
    page = visit(tmp_path / "index.html")
    page.click("#open-all")
    assert page.locator("img").count() == 0
    text = page.evaluate("document.body.textContent")
    # Reason, note, label, provider, place, driver, category, verdict.
    assert text.count(HOSTILE) > 8
    page.locator("#roofline-plot").scroll_into_view_if_needed()
    point = page.evaluate("({ ...dsbench.placeOf(0) })")
    page.mouse.move(point["x"], point["y"])
    assert "<img src=x onerror=alert(1)>" in tooltip(page)
    assert page.locator(".bk-Tooltip img").count() == 0


def test_no_other_script_runs(both: tuple[Collection, Path], browser: Any) -> None:
    """Even markup that came in somewhere would not run, nor could it ask the network."""
    page = browser.new_page()
    page.goto(both[1].as_uri())
    refused = page.evaluate(
        """() => new Promise((done) => {
          const refused = [];
          document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
          const script = document.createElement('script');
          script.textContent = 'window.entered = true';
          document.head.append(script);
          fetch('https://example.invalid/').catch(() => setTimeout(() => done([...refused, String(window.entered)]), 50));
        })"""
    )
    page.context.close()
    assert refused[-1] == "undefined"
    assert any(one.startswith("script-src") for one in refused)
    assert "connect-src" in refused


@pytest.mark.parametrize("collection", ["empty", "untimed", "published"])
def test_other_collections_open(visit: Open, tmp_path: Path, collection: str) -> None:
    head = reported.header()
    if collection == "empty":
        found = Collection(devices=())
    elif collection == "untimed":
        record = reported.record(reported.bounded(head, 1)[0], head, None, status="skipped", reason="too large")
        found = collect([reported.write(tmp_path, head, [record])])
    else:
        found = collect([reported.published(tmp_path)])
    report.write(found, tmp_path / "index.html")
    page = visit(tmp_path / "index.html")
    count = len(found.latest)
    assert page.locator("#count").inner_text() == f"{count} case{'' if count == 1 else 's'}"
    assert "it takes a second run" in page.locator("#compare-body").inner_text()
