"""GPUs by a driver that a test compiles, and torch by the text of its version."""

import shutil
import subprocess
import sys

import pytest

from tests.kit.fake_packages import install
from vggfeat.doctor import cuda
from vggfeat.doctor.children import Answer
from vggfeat.doctor.probes import gpus

DRIVER = """
#include <stddef.h>
#include <stdio.h>
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuInit(unsigned flags) { return ERROR; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int number) { *device = 7 + number; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "GPU %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)device << 30; return 0; }
int cuGetErrorName(int error, const char **name) { *name = "CUDA_ERROR_NO_DEVICE"; return 0; }
"""


@pytest.fixture
def driver(tmp_path):
    """driver(error) -> a library with the functions of NVIDIA's driver, whose start ends with this error."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler, cc")

    def build(error=0):
        (tmp_path / "driver.c").write_text(DRIVER)
        library = tmp_path / f"driver{error}.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", f"-DERROR={error}", "-o", library, tmp_path / "driver.c"], check=True
        )
        return gpus(str(library))

    return build


@pytest.fixture
def torch(tmp_path, monkeypatch):
    """torch(line) -> an installed torch whose version.py has this line; importing it fails."""

    def make(line):
        install(tmp_path, "torch", code="raise ImportError")
        (tmp_path / "torch" / "version.py").write_text(f"__version__ = '2.9'\n{line}\nhip: Optional[str] = None\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "torch", raising=False)  # that of other tests

    return make


def test_what_the_driver_says(driver):
    assert driver() == {"cuda": (12, 8), "gpus": [("GPU 7", 7 * 2**30), ("GPU 8", 8 * 2**30)], "trouble": ""}
    assert driver(100) == {"cuda": (12, 8), "gpus": [], "trouble": "CUDA_ERROR_NO_DEVICE"}


def test_no_driver():
    with pytest.raises(OSError, match="no_such_driver"):
        gpus("no_such_driver.so.1")
    found = cuda.check(Answer(trouble="OSError: libcuda.so.1"))
    assert found.state == "missing" and "NVIDIA" in found.found
    found = cuda.check(Answer(trouble="it ends the process by SIGSEGV"))
    assert found.found == "NVIDIA's driver cannot be loaded (it ends the process by SIGSEGV)"


TWO = Answer({"cuda": (12, 8), "gpus": [("H100", 80 * 2**30), ("T4", 15 * 2**30)], "trouble": ""})


@pytest.mark.parametrize(
    ("line", "state", "build", "remedy"),
    [
        ("cuda: Optional[str] = '12.6'", "ok", "CUDA 12.6", ""),
        ("cuda = '11.8'", "ok", "CUDA 11.8", ""),
        ("cuda: Optional[str] = '13.0'", "warning", "CUDA 13.0, which needs a later driver", "torchvision --index-url"),
        ("cuda: Optional[str] = None", "warning", "the processor alone", "--force-reinstall torch torchvision"),
        ("hip: Optional[str] = '6.4.4'", "warning", "AMD's ROCm 6.4.4", "--force-reinstall torch torchvision"),
    ],
)
def test_what_torch_is_built_for(line, state, build, remedy, torch):
    torch(line)
    found = cuda.check(TWO)
    assert found.state == state
    assert found.found.startswith("H100 (80 GiB), T4 (15 GiB); driver ")
    assert found.found.endswith(f" for CUDA 12.8; torch is built for {build}")
    assert remedy in found.remedy and bool(remedy) == bool(found.remedy)


def test_a_gpu_that_is_hidden(monkeypatch):
    none = Answer({"cuda": (12, 8), "gpus": [], "trouble": "CUDA_ERROR_NO_DEVICE"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = cuda.check(none)
    assert (found.state, found.remedy) == ("missing", "unset CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert cuda.check(none).remedy == "nvidia-smi"


def test_a_driver_that_hangs():
    assert cuda.check(Answer(trouble="not finished in time", in_time=False)).state == "warning"
