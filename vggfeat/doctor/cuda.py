"""NVIDIA's GPUs: by the driver itself, and by the text of torch's version; torch is not imported."""

import os
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from vggfeat._util.regular_files import read_text
from vggfeat.doctor.check import AGAIN, Check, pip
from vggfeat.doctor.children import Answer

WITHOUT = "--device cuda; nets run on the processor, which takes longer"
MAX_TEXT = 2**16  # bytes
DRIVER = Path("/proc/driver/nvidia/version")
PCI = Path("/sys/bus/pci/devices")
NVIDIA = "0x10de"  # the number of the vendor
WHEELS = {12: "https://download.pytorch.org/whl/cu126"}  # CUDA of the driver -> torch that runs with it


def check(answer: Answer) -> Check:
    """GPUs, memory, driver; and whether this torch was built for them."""
    if not answer.in_time:
        return Check("cuda", "warning", f"the answer of NVIDIA's driver was {answer.trouble}", WITHOUT, AGAIN)
    if answer.value is None:
        return _without_driver(answer.trouble)
    highest = answer.value["cuda"]
    driver = f"driver {_driver()} for CUDA {highest[0]}.{highest[1]}"
    if not answer.value["gpus"]:
        return _without_gpu(f"{driver}: {answer.value['trouble'] or 'no GPU'}")
    gpus = ", ".join(f"{name} ({size / 2**30:.0f} GiB)" for name, size in answer.value["gpus"])
    build = _build_of_torch()
    found = f"{gpus}; {driver}; torch is built for {build}"
    again = ("install", "--force-reinstall", "torch", "torchvision")
    if not build.startswith("CUDA"):
        return Check("cuda", "warning", found, WITHOUT, pip(*again))
    if int(re.findall(r"\d+", build)[0]) > highest[0]:
        wheels = WHEELS.get(highest[0])
        remedy = pip(*again, "--index-url", wheels) if wheels else "install a later driver of NVIDIA"
        return Check("cuda", "warning", f"{found}, which needs a later driver", WITHOUT, remedy)
    return Check("cuda", "ok", found, WITHOUT)


def _without_driver(trouble: str) -> Check:
    """No driver: whether there is a GPU that needs one."""
    vendors = set()
    with suppress(OSError, ValueError):
        vendors = {read_text(one / "vendor", MAX_TEXT).strip() for one in PCI.iterdir() if _is_display(one)}
    if NVIDIA not in vendors and trouble.startswith("OSError"):  # there is no library of the driver
        return Check("cuda", "missing", "no GPU of NVIDIA was found", WITHOUT)
    found = f"NVIDIA's driver cannot be loaded ({trouble})"
    return Check("cuda", "missing", found, WITHOUT, "install NVIDIA's driver; start a container with --gpus all")


def _without_gpu(found: str) -> Check:
    """A driver that shows no GPU."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is None:
        return Check("cuda", "missing", found, WITHOUT, "nvidia-smi")
    found += f"; CUDA_VISIBLE_DEVICES is {hidden!r}, which may hide a GPU"
    return Check("cuda", "missing", found, WITHOUT, "unset CUDA_VISIBLE_DEVICES")


def _is_display(device: Path) -> bool:
    return read_text(device / "class", MAX_TEXT).startswith("0x03")


def _driver() -> str:
    """The version of the driver, such as 580.65.06, where the system says it."""
    with suppress(OSError, ValueError):
        if found := re.search(r"\s(\d+\.\d+(\.\d+)?)\s", read_text(DRIVER, MAX_TEXT)):
            return found[1]
    return "of unknown version"


def _build_of_torch() -> str:
    """What the installed torch is built for, by the text of its version.py."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "nothing, as it is not installed"
    with suppress(OSError, ValueError):
        text = read_text(Path(spec.origin).with_name("version.py"), MAX_TEXT)
        built = dict(re.findall(r"^(cuda|hip)\b.*=\s*['\"]([\d.]+)", text, re.MULTILINE))
        if not built:
            return "the processor alone"
        return f"CUDA {built['cuda']}" if "cuda" in built else f"AMD's ROCm {built['hip']}"
    return "an unknown device"
