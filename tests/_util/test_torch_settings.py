"""Torch's global settings: in force inside the block, and what they were before afterwards."""

import os
import warnings
from types import SimpleNamespace

import pytest
import torch

from vggfeat._util.torch_settings import find_device, torch_settings
from vggfeat.errors import UsageError

REDUCED = ["allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"]
SUMS = [*REDUCED, "allow_fp16_accumulation"]


@pytest.mark.parametrize("before", [True, False])
def test_products_of_half_precisions_are_added_up_in_float32(before):
    matmul = torch.backends.cuda.matmul
    kept = [getattr(matmul, name) for name in SUMS]
    try:
        for name in REDUCED:
            setattr(matmul, name, before)
        with torch_settings(tf32=True):
            assert [getattr(matmul, name) for name in SUMS] == [False, False, False]
        assert [getattr(matmul, name) for name in REDUCED] == [before, before]
    finally:
        for name, value in zip(SUMS, kept, strict=True):
            setattr(matmul, name, value)


class TestTF32:
    @pytest.fixture
    def settings(self):
        """Get and set the precision of products and convolutions; as they were, afterwards."""
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        backends = [matmul, cudnn.conv] if hasattr(matmul, "fp32_precision") else [matmul, cudnn]
        name = "fp32_precision" if hasattr(matmul, "fp32_precision") else "allow_tf32"
        before = [getattr(backend, name) for backend in backends]
        yield lambda: [getattr(backend, name) in ("tf32", True) for backend in backends]
        for backend, value in zip(backends, before, strict=True):
            setattr(backend, name, value)

    @pytest.mark.parametrize("outer", [True, False])
    @pytest.mark.parametrize("inner", [True, False])
    def test_whatever_was_set_before_and_that_again_afterwards(self, settings, outer, inner):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            before = settings()
            with torch_settings(tf32=outer):
                with pytest.raises(KeyboardInterrupt), torch_settings(tf32=inner):
                    assert settings() == [inner, inner]
                    raise KeyboardInterrupt
                assert settings() == [outer, outer]
            assert settings() == before

    def test_a_global_permission_does_not_count(self, settings):
        if not hasattr(torch.backends, "fp32_precision"):
            pytest.skip("needs torch 2.9")
        before = torch.backends.fp32_precision
        torch.backends.fp32_precision = "tf32"
        try:
            with torch_settings(tf32=False):
                assert settings() == [False, False]
        finally:
            torch.backends.fp32_precision = before

    def test_torch_2_8(self, monkeypatch):
        matmul = SimpleNamespace(allow_tf32=False, **dict.fromkeys(SUMS, True))
        backends = SimpleNamespace(cuda=SimpleNamespace(matmul=matmul), cudnn=SimpleNamespace(allow_tf32=True))
        monkeypatch.setattr(torch, "backends", backends)

        def now():
            return backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32

        for tf32 in (True, False):
            with torch_settings(tf32=tf32):
                assert now() == (tf32, tf32)
            assert now() == (False, True)


def test_threads():
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt), torch_settings(threads=before + 2):
        assert torch.get_num_threads() == before + 2
        raise KeyboardInterrupt
    assert torch.get_num_threads() == before


def test_cudnn_benchmark():
    before = torch.backends.cudnn.benchmark
    with torch_settings(benchmark=not before):
        assert torch.backends.cudnn.benchmark is not before
    assert torch.backends.cudnn.benchmark is before


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_deterministic(monkeypatch, workspace):
    name = "CUBLAS_WORKSPACE_CONFIG"
    monkeypatch.delenv(name, raising=False)
    if workspace:
        monkeypatch.setenv(name, workspace)
    with torch_settings(deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ[name] == (workspace or ":4096:8")
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ.get(name) == workspace


def test_nothing_asked_for_changes_nothing():
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    with torch_settings():
        now = torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
        assert now == before


@pytest.mark.parametrize("name", ["tpu", "mps", "cuda:99"])
def test_devices_that_are_not_supported_or_not_present(name):
    with pytest.raises(UsageError, match=f"'{name}'"):
        find_device(name)
    assert find_device("cpu") == torch.device("cpu")
