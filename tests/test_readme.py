"""The README as its readers use it: every how-to is run as written, every pasted bound and every option is the real one."""

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pytest_dsbench import providers
from pytest_dsbench.operators import everything
from pytest_dsbench.shapes import Provenance, load

pytest.importorskip("torch", reason="the how-tos measure")

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: The how-tos whose files and commands make a project of their own.
HOW_TOS = ("Add an operator", "Add a shape", "Add a provider", "Add a GPU", "A bench by hand")
#: A line that stands for lines left out.
CUT = "..."

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """The text under one heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title!r}"
    return found[1]


def files(text: str) -> dict[str, str]:
    """Contents by path of the blocks that begin with a comment like `# benches/bench_mine.py`."""
    named = {re.match(r"# (\S+\.(?:py|toml))\n", body): body for _, body in _BLOCK.findall(text)}
    return {match[1]: body for match, body in named.items() if match}


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Every `$ command` of the console blocks, with the lines pasted under it."""
    found: list[tuple[str, list[str]]] = []
    for language, body in _BLOCK.findall(text):
        for line in body.splitlines() if language == "console" else ():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a shell in which this package is installed; its CPU is measured once for all how-tos."""
    scripts = sysconfig.get_path("scripts")
    if not (Path(scripts) / "dsbench").exists():
        pytest.skip("the console script dsbench is not installed in this environment")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return kept | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def shell(command: str, folder: Path, surroundings: dict[str, str]) -> str:
    """What a command prints; it must succeed."""
    words = shlex.split(command)
    done = subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write(contents: dict[str, str], folder: Path) -> None:
    """Makes a project of the files of a how-to."""
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def first_foreign(pasted: list[str], real: list[str]) -> str | None:
    """The first pasted line that the real output does not have in its place; `...` stands for any lines."""
    rest: Iterator[str] = iter(real)
    cut = True
    for line in pasted:
        if line == CUT:
            cut = True
            continue
        if line != (next((one for one in rest if one == line), None) if cut else next(rest, None)):
            return line
        cut = False
    return None


@pytest.mark.parametrize("title", HOW_TOS)
def test_how_to_works_as_written(title: str, tmp_path: Path, surroundings: dict[str, str]) -> None:
    text = section(title)
    write(files(text), tmp_path)
    assert commands(text), "a how-to ends with the command that runs it"
    for command, _ in commands(text):
        printed = shell(command, tmp_path, surroundings)
        if command.startswith("pytest "):
            assert re.search(r"= .*\b[1-9]\d* passed", printed), printed
            assert "failed" not in printed and "skipped" not in printed.splitlines()[-1], printed
            assert list((tmp_path / "runs").glob("*-cpu.jsonl")) or "--dsbench-plan" in command


def test_how_tos_measure_what_they_say(tmp_path: Path, surroundings: dict[str, str]) -> None:
    """All of them in one project, checked and not timed: nothing of one may stand in the way of another."""
    for title in HOW_TOS:
        write(files(section(title)), tmp_path)
    printed = shell("pytest benches/ --benchmark-disable -v", tmp_path, surroundings)
    for name in (
        "bench_add_bias[1]",
        "bench_add_bias[64]",
        "bench_rms_norm[tokens8-hidden7168-mine]",
        "bench_rms_norm[tokens128-hidden4096-torch]",
        "bench_scale_rows[tokens64-hidden7168-torch]",
    ):
        assert re.search(rf"::{re.escape(name)} PASSED", printed), f"{name}\n{printed}"
    plan = shell("pytest benches/ --dsbench-hw=my_gpu.toml --dsbench-plan", tmp_path, surroundings)
    assert "my_gpu: My GPU; 3.35 TB/s" in plan
    assert "scale_rows (2 cases)" in plan


def test_how_tos_work_beside_the_production_benches(tmp_path: Path, surroundings: dict[str, str]) -> None:
    """In a checkout of this repository, where other benches are collected before them."""
    for folder in ("benches", "shapes"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for title in ("Add an operator", "Add a shape", "A bench by hand"):
        write(files(section(title)), tmp_path)
    (tmp_path / "benches" / "bench_rms_norm.py").unlink()  # "in this one it is there already"
    names = "scale_rows or add_bias or (rms_norm and decode)"
    printed = shell(f'pytest benches/ --benchmark-disable -v -k "{names}"', tmp_path, surroundings)
    assert "bench_scale_rows[tokens1-hidden7168-torch] PASSED" in printed
    assert "bench_add_bias[1] PASSED" in printed
    assert re.search(r"bench_norm\.py::bench_rms_norm\[tokens64-hidden4096-torch\] PASSED", printed)


def test_results_reach_pytest_benchmark(tmp_path: Path, surroundings: dict[str, str]) -> None:
    write(files(section("A bench by hand")), tmp_path)
    printed = [shell(command, tmp_path, surroundings) for command, _ in commands(section("Results"))]
    assert (tmp_path / "run.json").stat().st_size
    rows = re.findall(r"^bench_add_bias\[64\] \(000[12]_", printed[-1], re.MULTILINE)
    if len(rows) < 2 and any("noisy_host" in text for text in printed):
        pytest.skip("other processes kept this machine too busy to time anything: noisy_host")
    assert len(rows) == 2


BOUNDS = [pair for pair in commands(README) if pair[0].startswith("dsbench roofline")]
PLANS = [pair for pair in commands(README) if "--dsbench-plan" in pair[0]]
PROFILES = [pair for pair in commands(README) if pair[0].startswith("dsbench profile")]
SERVED = [pair for pair in commands(README) if pair[0].startswith("dsbench serve")]
#: Runs whose output is pasted.
RUNS = [pair for pair in commands(README) if pair[0].startswith("pytest ") and pair[1] and pair not in PLANS]


def test_there_is_something_pasted() -> None:
    assert len(BOUNDS) >= 2 and PLANS and RUNS and PROFILES and SERVED


@pytest.mark.parametrize(("command", "pasted"), BOUNDS, ids=[command for command, _ in BOUNDS])
def test_pasted_bounds_are_what_is_printed(command: str, pasted: list[str], tmp_path: Path, surroundings: dict[str, str]) -> None:
    write(files(section("Add a GPU")), tmp_path)
    assert shell(command, tmp_path, surroundings).splitlines() == pasted


@pytest.mark.parametrize(("command", "pasted"), PLANS, ids=[command for command, _ in PLANS])
def test_pasted_plans_are_what_is_printed(command: str, pasted: list[str], surroundings: dict[str, str]) -> None:
    printed = shell(f"{command} -p no:cacheprovider", ROOT, surroundings).splitlines()
    assert first_foreign(pasted, printed) is None


@pytest.mark.parametrize(("command", "pasted"), SERVED, ids=[command for command, _ in SERVED])
def test_pasted_rates_are_what_is_printed(command: str, pasted: list[str], surroundings: dict[str, str]) -> None:
    assert first_foreign(pasted, shell(command, ROOT, surroundings).splitlines()) is None


@pytest.mark.parametrize(("command", "pasted"), PROFILES, ids=[command for command, _ in PROFILES])
def test_pasted_profiles_are_what_is_printed(command: str, pasted: list[str], surroundings: dict[str, str]) -> None:
    printed = shell(command, ROOT, surroundings).splitlines()
    # The end of one line is left out, too.
    starts = {line.removesuffix(CUT) for line in pasted if line.endswith(CUT) and line != CUT}
    assert starts and all(any(line.startswith(start) for line in printed) for start in starts)
    assert first_foreign([line for line in pasted if line == CUT or not line.endswith(CUT)], printed) is None


def test_pasted_runs_have_the_heads_of_today(tmp_path: Path, surroundings: dict[str, str]) -> None:
    """The figures of a run differ from machine to machine; the heads of its tables do not."""
    write(files(section("A bench by hand")), tmp_path)
    printed = heads(shell("pytest benches/ --benchmark-quiet -v", tmp_path, surroundings).splitlines())
    for command, pasted in RUNS:
        assert heads(pasted) == printed, command


def heads(lines: list[str]) -> list[list[str]]:
    """The words of the heads of our tables."""
    return [line.split() for line in lines if line.startswith(("case ", "operator "))]


def test_every_option_is_in_the_table_and_the_other_way_round(tmp_path: Path, surroundings: dict[str, str]) -> None:
    printed = shell("pytest --help", tmp_path, surroundings)
    table = re.findall(r"^\| `(--[\w-]+)", section("Options"), re.MULTILINE)
    assert sorted(table) == sorted(set(re.findall(r"^ +(--dsbench-[\w-]+)", printed, re.MULTILINE)))
    values = set(re.findall(r"^ +(dsbench_\w+) \(", printed, re.MULTILINE))
    assert values == set(re.findall(r"`(dsbench_\w+)`", section("Options")))
    for choice in ("auto", "events", "graph"):
        assert choice in printed and f"`{choice}`" in section("Options")


def test_commands_of_the_makefile_are_those_of_the_readme() -> None:
    rules = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name in re.findall(r"^make (\w+)", section("Two commands"), re.MULTILINE):
        assert name in rules


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if target.startswith("http"):
                continue
            name, _, anchor = target.partition("#")
            goal = page.parent / name if name else page
            assert goal.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(goal), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_shape_files_of_the_docs_can_be_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "shapes.md").read_text(encoding="utf-8")
    examples = [body for language, body in _BLOCK.findall(page) if language == "toml"]
    assert len(examples) >= 4
    for number, text in enumerate(examples):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        found = load([path])
        assert found.cases and not found.broken, [str(one) for one in found.broken]


def test_every_key_of_a_shape_file_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "shapes.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    provenance = {field.encode_name for field in msgspec.structs.fields(Provenance)}
    of_a_file = {"operator", "case", "defaults", "tags", "importance", "source", "production_on"}
    assert told == provenance | of_a_file | {"label"}


def test_every_operator_and_provider_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    packaged = {name: operator for name, operator in everything().items() if operator.__module__.startswith("pytest_dsbench.")}
    providers.load()
    table = dict(re.findall(r"^\| (\w+) \| ([\w ,=.()\[\]-]+) \| read ", page, re.MULTILINE))
    assert table.keys() == packaged.keys()
    for name, operator in packaged.items():
        told = re.findall(r"(\w+)(?: \([^)]*\))?(?: = ([\w.-]+|\[[^]]*\]))?(?:, |$)", table[name])
        fields = msgspec.structs.fields(operator)
        real = [(field.name, "" if field.required else _plain(field.default)) for field in fields]
        assert told == real, name
        kernels = ", ".join(sorted(operator.providers.keys() - {"torch", "torch_compile"})) or "-"
        assert f"\n| {name} | {kernels} |\n" in page, f"{name}: {kernels}"
    for name in {name for operator in packaged.values() for name in operator.providers}:
        assert re.search(rf"^\| .*\b{name}\b.* \|.* (?:CPU, )?CUDA \|$", page, re.MULTILINE), name


def _plain(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return str(list(default)) if default else ""
    return f"{default:g}".replace("e-0", "e-") if isinstance(default, float) else str(default)
