"""Fixtures for all tests: the real photos and weights where they are at hand."""

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are shared among the workers; torch reads it when it is loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("VGGFEAT_TEST_SHARED", Path(__file__).parents[2] / "shared"))


# Files of tests that take minutes.
LONGEST = ("test_ray.py", "test_resume.py", "test_ranks.py", "test_reliability.py", "test_hostile.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that no process works alone on one of them in the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """shared("data/caltech101") -> its path beside the checkout; skips the test where it is absent."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"needs {name}, which is not in {SHARED} (set VGGFEAT_TEST_SHARED)")
        return SHARED / name

    return find


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """tiny_weights("D", width=1/16, classes=7, top="fc8", preprocessing=OXFORD) -> a native weights file.

    Glorot weights, the same ones each time for the same arguments. Everything but the net may be left out.
    """
    folder = tmp_path_factory.mktemp("weights")

    @cache
    def make(
        net: str = "D",
        *,
        width: float = 1 / 16,
        classes: int = 7,
        top: Any = "fc8",
        preprocessing: Any = None,
    ) -> Path:
        import torch

        from vggfeat import nets, weights

        preprocessing = preprocessing or weights.OXFORD
        called = f"{net}-{width:g}-{classes}-{top}-{preprocessing.colour}"
        seed = torch.Generator().manual_seed(crc32(called.encode()))
        vgg = nets.initialise(nets.VGG(net, width=width, classes=classes, top=top), "glorot", seed)
        saved = weights.save(
            folder / f"{called}.safetensors",
            vgg.state_dict(),
            net=net,
            width=width,
            preprocessing=preprocessing,
            lineage="random",
            source="random",
            licence="Apache-2.0",
            classes=tuple(f"class {i}" for i in range(classes)) if top == "fc8" else None,
        )
        return saved.path

    return make
