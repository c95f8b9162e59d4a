"""The house: imports flow one way without circles, and importing the package or asking for help stays light."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import vggfeat

PACKAGE = Path(vggfeat.__file__).parent

# From the ground up. A module may import those of lower storeys, and its own.
STOREYS = [
    {"__init__"},
    {"errors", "formats"},
    {"_util"},
    {"nets", "decisions"},
    {"spec"},
    {"pixels", "truncation", "netpbm"},
    {"reading"},
    {"images", "boxes", "metrics", "aggregate", "neighbours"},
    {"inputs"},
    {"weights"},
    {"engine"},
    {"descriptors"},
    {"classify", "transformer", "golden", "maps"},
    {"store"},
    {"sources"},
    {"extraction"},
    {"svm"},
    {"data"},
    {"report"},
    {"index"},
    {"bench", "evaluate", "train", "doctor", "model"},
    {"explore", "localization"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, storey in enumerate(STOREYS) for name in storey}


def module_of(file: Path) -> str:
    """vggfeat/store/files.py -> vggfeat.store.files, vggfeat/store/__init__.py -> vggfeat.store"""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str) -> set[str]:
    """The modules of vggfeat that a module imports, also inside functions and for types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return {name for name in found if name in FILES} - {module}


def storey_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


@pytest.mark.parametrize("module", FILES)
def test_imports_flow_one_way(module):
    own = storey_of(module)
    assert own in LEVEL, f"{own} has no storey: add it to STOREYS"
    for other in imports(module):
        below = storey_of(other)
        assert below == own or LEVEL[below] < LEVEL[own], f"{module} must not import {other}"


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Modules that import each other, directly or by way of others."""
    reached: dict[str, set[str]] = defaultdict(set)
    for start in graph:
        waiting = [start]
        while waiting:
            for other in graph[waiting.pop()] - reached[start]:
                reached[start].add(other)
                waiting.append(other)
    return [{name, *(o for o in reached[name] if name in reached[o])} for name in graph if name in reached[name]]


def test_no_circles_not_even_inside_a_folder():
    assert not circles({module: imports(module) for module in FILES})


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [{"b", "c"}, {"b", "c"}]


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
        *(
            f"import typer.testing as t, vggfeat.cli as c\nran = t.CliRunner().invoke(c.app, ['{name}', '--help'])\n"
            "assert ran.exit_code == 0, ran.output"
            for name in ("demo", "extract", "bench", "evaluate", "train", "index", "fit", "predict", "explore")
        ),
        *(
            "import typer.testing as t, vggfeat.cli as c\n"
            f"ran = t.CliRunner().invoke(c.app, ['localize', '{name}', '--help'])\n"
            "assert ran.exit_code == 0, ran.output"
            for name in ("fit", "predict", "evaluate")
        ),
        *(
            f"import typer.testing as t, vggfeat.cli as c\nran = t.CliRunner().invoke(c.app, {words})\n"
            "assert 'nowhere: no such folder' in str(ran.exception)"
            for words in (["extract", "nowhere"], ["fit", "nowhere", "--out", "x.vggmodel"])
        ),
        *(
            f"import vggfeat.{one}.settings"
            for one in ("extraction", "bench", "evaluate", "index", "model", "explore", "localization")
        ),
        "import vggfeat.spec, vggfeat.nets, vggfeat.train.recipe",
    ],
)
def test_light_without_torch_and_numpy(code):
    assert not loaded_by(code) & {"torch", "numpy", "sklearn", "pandas", "pyarrow"}


@pytest.mark.parametrize(
    "module",
    ["data", "metrics", "report", "store", "store.exporting", "_util.fetch", "svm", "aggregate", "explore.site"],
)
def test_torch_free(module):
    assert "torch" not in loaded_by(f"import vggfeat.{module}")


def test_every_public_name_is_there():
    for name in vggfeat.__all__:
        assert getattr(vggfeat, name) is not None
    assert set(vggfeat.__all__) <= set(dir(vggfeat))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        vggfeat.nonsense  # noqa: B018


def test_functions_of_the_package_share_their_names_with_no_module():
    """Importing a module sets it as an attribute of its package, and would replace the function."""
    assert not {f"vggfeat.{name}" for name in vggfeat.__all__} & FILES.keys()
