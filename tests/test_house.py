"""The house: imports flow one way, and importing the package or asking for help stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vggfeat

PACKAGE = Path(vggfeat.__file__).parent

# From the ground up (DESIGN section 2). A module may import those of lower storeys, and its own.
STOREYS = [
    {"__init__", "errors", "_version"},
    {"devices"},
    {"images", "metrics", "svm", "data", "aggregate", "progress", "fetch", "allocator"},
    {"nets"},
    {"weights", "winograd", "windows", "halves", "tables"},
    {"dense", "faster"},
    {"passes"},
    {"descriptors"},
    {"transformer", "store", "classify", "golden"},
    {"sources"},
    {"extract", "export"},
    {"report"},
    {"train", "evaluate", "localise", "bench", "index"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, storey in enumerate(STOREYS) for name in storey}


def imported(file: Path) -> set[str]:
    """The modules right below vggfeat that a file imports, inside functions as well."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in found if name.startswith("vggfeat")]
    return {part[1] if len(part) > 1 and part[1] in LEVEL else "__init__" for part in parts}


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_flow_one_way(file):
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in LEVEL, f"{own} has no storey: add it to STOREYS"
    for other in imported(file) - {own}:
        assert LEVEL[other] < LEVEL[own] or other == "progress", f"{own} must not import {other}"


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are loaded after a fresh interpreter ran the code."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {line.split(".")[0] for line in run.stdout.splitlines()}


@pytest.mark.parametrize(
    "code",
    [
        "import vggfeat; vggfeat.__version__; vggfeat.VggfeatError",
        "import vggfeat.cli",
        "import typer.testing, vggfeat.cli as c; typer.testing.CliRunner().invoke(c.app, ['extract', '--help'])",
    ],
)
def test_light_without_torch_and_numpy(code):
    assert not loaded_by(code) & {"torch", "numpy", "sklearn", "pandas", "pyarrow"}


@pytest.mark.parametrize("module", ["data", "metrics", "report", "store", "export", "fetch", "svm"])
def test_torch_free(module):
    assert "torch" not in loaded_by(f"import vggfeat.{module}")


def test_every_public_name_is_there():
    for name in vggfeat.__all__:
        assert getattr(vggfeat, name) is not None
    assert set(vggfeat.__all__) <= set(dir(vggfeat))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        vggfeat.nonsense  # noqa: B018


def test_the_function_extract_is_not_hidden_by_its_module():
    code = "import vggfeat, vggfeat.extract; assert vggfeat.extract is sys.modules['vggfeat.extract'].extract"
    assert "torch" in loaded_by(code)
