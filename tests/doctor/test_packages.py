"""What is installed: absent, too old, broken, installed twice; and what Pillow decodes. All packages are fakes."""

import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.kit.fake_packages import install, install_all
from vggfeat.doctor import checks, unusable
from vggfeat.doctor.packages import EXTRAS, REQUIRED
from vggfeat.doctor.probes import CODECS
from vggfeat.formats import FORMATS

ALL = {*REQUIRED, *(package.name for package in EXTRAS if package.name != "faiss"), "faiss-cpu"}


@pytest.fixture
def found(tmp_path, monkeypatch):
    """found(without={"ray"}, torch="code") -> the checks by name, of a machine that has all packages but some."""
    standard = sysconfig.get_paths()

    def look(*, without=(), lacks=(), **code):
        folder = tmp_path / "packages"
        install_all(folder, ALL - set(without), lacks=lacks)
        install(folder, "faiss", version="", code="")
        for name, text in code.items():
            (folder / name / "__init__.py").write_text(text)
        monkeypatch.setattr(sys, "path", [str(folder), standard["stdlib"], f"{standard['platstdlib']}/lib-dynload"])
        return {check.name: check for check in checks(60)}

    return look


def test_all_is_well(found):
    every = found()
    names = ["python", "torch", "numpy", "pyarrow", "packages", "codecs", *(package.name for package in EXTRAS)]
    assert list(every)[: len(names)] == names
    for name in names:
        assert (every[name].state, every[name].remedy) == ("ok", ""), every[name]
    assert every["torch"].found == "99.0"
    assert every["faiss"].found == "faiss-cpu 99.0"
    assert not unusable(every.values())


def test_broken_packages(found):
    every = found(
        torch="import os; os.kill(os.getpid(), 11)", numpy="raise ImportError('no BLAS')", ray="import nothing_such"
    )
    assert every["torch"].found == "99.0, cannot be imported: it ends the process by SIGSEGV"
    assert every["numpy"].found == "99.0, cannot be imported: ImportError: no BLAS"
    assert every["ray"].state == "missing"
    assert every["torch"].remedy == f"{sys.executable} -m pip install --force-reinstall 'torch>=2.8'"
    assert [check.name for check in unusable(every.values())] == ["torch", "numpy"]


def test_absent_packages(found):
    every = found(without={"gcsfs", "pandas", "typer", "faiss-cpu"})
    assert (every["faiss"].state, every["faiss"].found) == ("ok", "of unknown version")  # pip does not know it
    assert (every["gcsfs"].state, every["gcsfs"].found) == ("missing", "not installed")
    assert every["gcsfs"].remedy == f"{sys.executable} -m pip install gcsfs"
    assert every["packages"].found == "pandas is not installed, typer is not installed"
    assert every["packages"].remedy == f"{sys.executable} -m pip install --upgrade pandas 'typer>=0.20'"
    assert [check.name for check in unusable(every.values())] == ["packages"]


def test_old_packages(found, tmp_path):
    install(tmp_path / "packages", "torch", "2.7.1+cu118")
    install(tmp_path / "packages", "typer", "0.9")
    every = found(without={"torch", "typer"})
    assert (every["torch"].state, every["torch"].found) == ("missing", "2.7.1+cu118, older than 2.8")
    assert every["packages"].found == "typer 0.9 is too old"


def test_both_faiss(found, tmp_path):
    install(tmp_path / "packages", "faiss-gpu", "1.15", module="faiss")
    every = found()
    assert every["faiss"].state == "warning"
    assert "faiss-gpu and faiss-cpu are installed" in every["faiss"].found
    assert "uninstall -y faiss-gpu faiss-cpu && " in every["faiss"].remedy
    assert not unusable(every.values())


@pytest.mark.parametrize(
    ("lacks", "state", "text"), [(("avif",), "warning", "not avif"), (("jpg", "webp"), "missing", "not jpeg, webp")]
)
def test_codecs(lacks, state, text, found):
    codecs = found(lacks=lacks)["codecs"]
    assert (codecs.state, codecs.found.partition("; ")[2]) == (state, text)


def test_no_time_is_a_warning_of_what_is_needed(found):
    found()
    every = {check.name: check for check in checks(0)}
    assert (every["torch"].state, every["torch"].found) == ("warning", "99.0, import not finished in time")
    assert every["torch"].remedy == "vggfeat doctor --seconds 60"
    assert (every["ray"].state, every["ray"].found) == ("ok", "99.0, import not finished in time")
    assert not unusable(every.values())


def test_the_packages_are_those_of_pyproject():
    file = Path(__file__).parents[2] / "pyproject.toml"
    needed = {name + (f">={'.'.join(map(str, least))}" if least else "") for name, least in REQUIRED.items()}
    assert needed == set(tomllib.loads(file.read_text())["project"]["dependencies"])


def test_the_codecs_are_those_that_are_read():
    always = {"GIF", "BMP", "PPM"}
    assert {name.upper() for name in CODECS} == set(FORMATS) - always
