"""An installed user, who has no checkout, gets the data sheets, the shapes, the types and the plugin."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(command: list[str], cwd: Path, **environ: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    run([*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)], folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder with the wheel unpacked as pip does it, away from the checkout."""
    folder = wheel.parent / "site"
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)], wheel.parent)
    return folder


def dsbench(installed: Path, *arguments: str) -> str:
    return run([sys.executable, "-m", "pytest_dsbench", *arguments], installed.parent, PYTHONPATH=str(installed))


def test_the_wheel_has_data_types_and_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    sheets = {path.name for path in (ROOT / "pytest_dsbench" / "hardware").glob("*.toml")}
    shapes = {str(path.relative_to(ROOT)) for name in ("shapes", "models", "profiles") for path in (ROOT / name).rglob("*.toml")}
    contracts = {path.name for path in (ROOT / "pytest_dsbench" / "contracts").glob("*.toml")}
    assert {f"pytest_dsbench/hardware/{name}" for name in sheets} <= set(names)
    assert {f"pytest_dsbench/data/{name}" for name in shapes} <= set(names)
    assert {f"pytest_dsbench/contracts/{name}" for name in contracts} <= set(names)
    serving = {str(path.relative_to(ROOT)) for path in (ROOT / "pytest_dsbench" / "serving").rglob("*.toml")}
    assert {"pytest_dsbench/serving/model/qwen3_8b.toml", "pytest_dsbench/serving/price/nics/cx7.toml"} <= serving <= set(names)
    assert "pytest_dsbench/trace/mapping.toml" in names
    page = ROOT / "pytest_dsbench" / "report" / "page"
    parts = {path.name for suffix in ("js", "css", "jinja") for path in page.glob(f"*.{suffix}")}
    assert {"page.html.jinja", "page.css", "main.js"} <= parts
    assert {f"pytest_dsbench/report/page/{name}" for name in parts} <= set(names)
    assert "pytest_dsbench/py.typed" in names
    assert any(name.endswith("licenses/NOTICE") for name in names)


def test_installed_shapes_are_the_wheels_own(installed: Path) -> None:
    listed = dsbench(installed, "shapes", "block_scaled_mm")
    assert listed.rstrip().endswith("30 cases")
    assert f"{installed.name}/pytest_dsbench/data/shapes/gemm/" in listed
    assert str(ROOT / "shapes") not in listed


def test_installed_models_are_found(installed: Path) -> None:
    assert "all 36 layers: " in dsbench(installed, "layer", "--model", "qwen3_8b", "--hw", "gb200")
    assert f"{installed.name}/pytest_dsbench/data/models/deepseek_r1.toml" in dsbench(installed, "shapes", "moe_fused_gate")


def test_installed_profiles_are_found(installed: Path) -> None:
    assert "61 x 1,116 us = 68.08 ms" in dsbench(installed, "profile", "deepseek_d4")


def test_installed_sheets_are_listed(installed: Path) -> None:
    listed = dsbench(installed, "hardware")
    assert "gb200_nvl72" in listed
    assert "562.5" in listed


def test_the_entry_points(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    points = archive.read(name).decode()
    assert "dsbench = pytest_dsbench.plugin" in points
    assert "dsbench = pytest_dsbench.__main__:main" in points
