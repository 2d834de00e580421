"""Where a baseline comes from."""

import os
import subprocess
from pathlib import Path

import pytest
from gated import ENVIRONMENT, SHEET, baseline, case, entry, measured, run_file

from pytest_dsbench import git
from pytest_dsbench.gate.baseline import Baseline, write
from pytest_dsbench.gate.sources import find
from pytest_dsbench.mistake import Mistake

BARE = "; to compare with the stored baseline, a bare --dsbench-compare stands last"


def found(
    what: str, root: Path, hardware: str = "h200", baselines: str = "baselines", option: str = "--dsbench-compare"
) -> Baseline:
    return find(what, (root / baselines).resolve(), hardware, root, option)


def refused(what: str, root: Path, hardware: str = "h200", baselines: str = "baselines") -> str:
    with pytest.raises(Mistake) as caught:
        found(what, root, hardware, baselines)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def save(folder: Path, seconds: float = 1e-5) -> Path:
    (file,) = write(folder, baseline(entry(seconds=seconds)), ["rms_norm"])
    return file


def seconds(one: Baseline) -> float:
    return one.entries[case().identity].seconds


def run(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, env=kept)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stored baseline of 10 us; one stands elsewhere."""
    root = tmp_path / "root"
    save(root / "baselines")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return root


@pytest.fixture
def repository(root: Path) -> Path:
    """The same as a git repository of two commits: 10 us, then 20 us; 30 us lie in the working tree."""
    run(root, "init", "--quiet", "--initial-branch=main")
    for number, time in enumerate((1e-5, 2e-5)):
        save(root / "baselines", time)
        run(root, "add", ".")
        run(root, "commit", "--quiet", "-m", f"commit {number}")
    save(root / "baselines", 3e-5)
    return root


# -- files and folders --------------------------------------------------------------------------------------------------------


def test_bare(root: Path) -> None:
    one = found("", root)
    assert (one.source, one.hardware, one.history, seconds(one)) == ("baselines/h200", "h200", True, 1e-5)
    assert one.environments == {ENVIRONMENT.key(): ENVIRONMENT}


def test_bare_before_there_is_one(root: Path) -> None:
    assert found("", root, "h20") == Baseline(source="baselines/h20", hardware="h20")


@pytest.mark.parametrize("inside", ["", "h200"])
def test_a_folder(root: Path, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save(root / "kept", 2e-5)
    assert seconds(found(str(root / "kept" / inside), root)) == 2e-5
    # Relative to the root, or to where one stands.
    assert seconds(found(f"kept/{inside}", root)) == 2e-5
    monkeypatch.chdir(root / "kept")
    assert seconds(found(f"./{inside}", root)) == 2e-5


def test_a_folder_without_a_baseline_of_this_hardware(root: Path) -> None:
    assert refused("baselines", root, "h20") == (
        f"--dsbench-compare={root}/baselines: no baseline of h20 in this folder; it has h200"
    )


def test_a_folder_without_baselines(root: Path) -> None:
    (root / "benches").mkdir()
    text = f"--dsbench-compare={root}/benches: no baseline of h200 in this folder; it has none at all"
    assert refused("benches", root) == f"{text}{BARE}"
    with pytest.raises(Mistake) as caught:
        found("benches", root, option="A")
    assert str(caught.value) == f"A={root}/benches: no baseline of h200 in this folder; it has none at all"


def test_a_baseline_file(root: Path) -> None:
    one = found("baselines/h200/rms_norm.jsonl", root)
    assert (one.source, one.hardware, seconds(one)) == (f"{root}/baselines/h200/rms_norm.jsonl", "h200", 1e-5)


def test_a_run_file(root: Path) -> None:
    path = run_file(root / "runs", [measured(4e-5)])
    one = found(str(path), root)
    assert (one.source, one.hardware, one.history, seconds(one)) == (str(path), "h200", False, 4e-5)


@pytest.mark.parametrize("name", ["h20", "mine", "cpu"])
def test_a_baseline_of_other_hardware(root: Path, name: str) -> None:
    (root / "baselines" / "h200").rename(root / "baselines" / name)
    assert refused(f"baselines/{name}/rms_norm.jsonl", root) == (
        f"--dsbench-compare=baselines/{name}/rms_norm.jsonl: a baseline of {name}; this run is on h200,"
        " and times do not carry over"
    )


def test_a_run_on_other_hardware(root: Path) -> None:
    path = run_file(root / "runs", [measured()], hardware=SHEET.replace(name="h20"))
    assert refused(str(path), root) == (
        f"--dsbench-compare={path}: a baseline of h20; this run is on h200, and times do not carry over"
    )


def test_a_baseline_file_that_was_copied_elsewhere(root: Path) -> None:
    """Nothing but its environments tells of what hardware it is."""
    save(root / "baselines").rename(root / "old.jsonl")
    one = found("old.jsonl", root)
    assert (one.hardware, seconds(one)) == (None, 1e-5)


@pytest.mark.parametrize(
    ("text", "said"), [("hello", "JSON is malformed"), ("", "it is empty"), ('{"v": 2}', "missing required")]
)
def test_a_file_that_is_neither(root: Path, text: str, said: str) -> None:
    (root / "a.txt").write_text(text)
    message = refused("a.txt", root)
    assert message.startswith(f"{root}/a.txt: neither a run file nor a baseline; ") and said in message


def test_a_run_without_its_first_line(root: Path) -> None:
    path = run_file(root / "runs", [measured()])
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert refused(str(path), root) == f"{path}: the first line of the run is lost, and with it where it was measured"


def test_a_baseline_file_with_a_broken_line(root: Path) -> None:
    path = save(root / "baselines")
    path.write_bytes(path.read_bytes() + b"{\n")
    one = found(str(path), root)
    assert len(one.entries) == 1 and one.complaints[0].startswith(f"{path}:3: ")


def test_a_baseline_file_in_which_nothing_can_be_read(root: Path) -> None:
    """Held against nothing, every case would be new and the run would pass."""
    path = root / "baselines" / "h200" / "rms_norm.jsonl"
    path.write_text('{"v": 9, "kind": "entry"}\n{"v": 9, "kind": "entry"}\n')
    assert refused(str(path), root).startswith(f"{path}:1: baseline version 9 is newer than 1")


# -- git ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "time"), [("HEAD~1", 1e-5), ("HEAD", 2e-5), ("main", 2e-5), ("main^{/commit 0}", 1e-5)])
def test_a_git_revision(repository: Path, name: str, time: float) -> None:
    one = found(name, repository)
    assert (one.source, one.hardware, one.history) == (f"baselines/h200 of {name}", "h200", True)
    assert seconds(one) == pytest.approx(time) and one.complaints == ()
    # The working tree is another matter.
    assert seconds(found("", repository)) == pytest.approx(3e-5)


def test_a_commit_and_a_tag(repository: Path) -> None:
    run(repository, "tag", "-a", "v1", "-m", "one", "HEAD~1")
    commit = git.revision(repository, "v1", "x")
    assert len(commit) == 40 and seconds(found("v1", repository)) == seconds(found(commit[:10], repository)) == 1e-5


def test_a_broken_line_of_a_revision(repository: Path) -> None:
    path = repository / "baselines" / "h200" / "rms_norm.jsonl"
    path.write_bytes(path.read_bytes() + b"{\n")
    run(repository, "commit", "--quiet", "-am", "broken")
    (complaint,) = found("HEAD", repository).complaints
    assert complaint.startswith("HEAD:baselines/h200/rms_norm.jsonl:3: ")


def test_an_operator_whose_name_is_not_ascii(repository: Path) -> None:
    write(repository / "baselines", baseline(entry(operator="größe")), ["größe"])
    run(repository, "add", ".")
    run(repository, "commit", "--quiet", "-m", "more")
    assert {one.operator for one in found("HEAD", repository).entries.values()} == {"rms_norm", "größe"}


def test_a_file_goes_before_a_revision(repository: Path) -> None:
    save(repository / "main", 4e-5)
    assert seconds(found("main", repository)) == 4e-5


def test_an_unknown_revision_names_close_ones(repository: Path) -> None:
    assert refused("mian", repository) == (
        "--dsbench-compare=mian: unknown git revision 'mian'; did you mean 'main'? known: main; no file of this name either"
    )


def test_a_revision_that_looks_like_an_option(repository: Path) -> None:
    assert "unknown git revision '--all'" in refused("--all", repository)


def test_not_a_repository(root: Path) -> None:
    assert refused("HEAD", root) == (f"--dsbench-compare=HEAD: {root} is not in a git repository; no file of this name either")


def test_a_repository_without_commits(root: Path) -> None:
    run(root, "init", "--quiet")
    assert "unknown git revision 'HEAD'" in refused("HEAD", root)


def test_without_git(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    assert refused("HEAD", root) == "--dsbench-compare=HEAD: git is not installed here; no file of this name either"


def test_a_revision_before_there_were_baselines(repository: Path) -> None:
    assert found("HEAD", repository, "h20").entries == {}


def test_baselines_beside_the_root(repository: Path) -> None:
    """The root of the tests may be a folder of the repository."""
    inner = repository / "package"
    inner.mkdir()
    one = found("HEAD~1", inner, baselines="../baselines")
    assert seconds(one) == pytest.approx(1e-5) and one.source == "../baselines/h200 of HEAD~1"


def test_baselines_outside_the_repository(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """They are in no revision of it."""
    outside = tmp_path_factory.mktemp("outside")
    save(outside)
    text = refused("HEAD", repository, baselines=str(outside))
    assert text.startswith("--dsbench-compare=HEAD: ") and "outside repository" in text
