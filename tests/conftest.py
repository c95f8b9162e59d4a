"""Fixtures for all tests: the real photos and weights where they are at hand."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("VGGFEAT_TEST_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """shared("data/caltech101") -> its path beside the checkout; skips the test where it is absent."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"needs {name}, which is not in {SHARED} (set VGGFEAT_TEST_SHARED)")
        return SHARED / name

    return find
