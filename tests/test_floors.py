"""The house rule: imports go down only, and the lower floors load neither pytest nor torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pytest_dsbench"

#: Modules and folders by floor; a name covers everything inside it. A module may import its own floor and those below.
FLOORS = [
    floor.split()
    for floor in (
        "mistake record textfile units datasheet formula stats segments",
        "work hardware roofline provider operator operators bench",
        "dims positions tables sweep case shapefile model modelfile shapes plan thresholds options published contracts",
        "nvml lock kernels environment anchors tensors deviation check measurement clock trial peaks provenance rig handmade"
        " sticky blame light judged runner fuzz providers jobs assemble signatures doctor",
        "verdict runs ledger layers profile history score git duet gate simulate guard foreign results trace serving",
        "report",
        "plugin session selection configuration fixture listing bridge recorder broken planning workers faults commands __main__",
    )
]
#: The public names import from every floor, lazily; `plan.sheet` measures the CPU when it is asked to, and only then.
EXCEPTIONS = {("__init__", "*"), ("plan", "peaks")}


def floor(module: str) -> int:
    top = module.split(".")[0]
    for number, names in enumerate(FLOORS):
        if top in names:
            return number
    raise AssertionError(f"{module} stands on no floor; give it one in tests/test_floors.py")


def modules() -> list[str]:
    return [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))]


def imported(module: str) -> list[str]:
    """Modules of the package that `module` imports, anywhere in its source."""
    path = PACKAGE / Path(*module.split(".")).with_suffix(".py")
    package = module.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [".".join([*base, *name.split(".")]) for name in names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_dsbench."):
            found.append((node.module or "").removeprefix("pytest_dsbench."))
    return found


@pytest.mark.parametrize("module", [name for name in modules() if name != "__init__"])
def test_imports_go_down(module: str) -> None:
    for other in imported(module):
        if (module, other) not in EXCEPTIONS:
            assert floor(other) <= floor(module), f"{module} (floor {floor(module)}) imports {other} (floor {floor(other)})"


def test_every_module_was_looked_at() -> None:
    assert {"plugin", "clock.cuda", "operators.rms_norm"} <= set(modules())
    assert "work" in imported("operators.rms_norm")


@pytest.mark.parametrize("code", ["", "find('rms_norm').build({'tokens': 3, 'hidden': 8}).work()", "load([Path('shapes')])"])
def test_lower_floors_load_neither_pytest_nor_torch(code: str) -> None:
    names = " ".join(f"import pytest_dsbench.{name};" for number in range(3) for name in FLOORS[number])
    script = (
        f"import sys; from pathlib import Path; {names} from pytest_dsbench import find, load; {code}\n"
        "print(sorted({'pytest', '_pytest', 'torch', 'numpy', 'triton'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_imports_nothing_else() -> None:
    script = (
        "import sys, pytest_dsbench\n"
        "print([name for name in sys.modules if name.startswith(('pytest_dsbench.', 'msgspec', 'torch'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
