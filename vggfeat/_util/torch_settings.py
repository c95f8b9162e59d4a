"""Devices by name, and torch's global settings in one context manager."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from vggfeat.errors import UsageError, VggfeatError

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_running_in = 0  # the process whose torch has started threads or a GPU; a fork inherits the number


def find_device(device: str) -> torch.device:
    """The device by name; "auto" is the first CUDA device, or the CPU. Raises UsageError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"no device {device!r}; take auto, cpu, cuda or cuda:1") from error
    if found.type not in ("cpu", "cuda"):
        raise UsageError(f"device {device!r} is not supported; take cpu or cuda")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"device {device!r} not found: torch sees {count} CUDA devices")
    return found


def check_fork() -> None:
    """Note that this process runs nets from now on. Raises VggfeatError if it is a fork of a process that ran one.

    Torch's threads and its GPU do not survive a fork: the first operation would wait for them for ever.
    """
    global _running_in
    if _running_in not in (0, os.getpid()):
        raise VggfeatError(
            "this process was forked after its parent had run a net, and torch would wait for ever: "
            'start it with multiprocessing.get_context("spawn")'
        )
    if torch.get_num_threads() > 1 or torch.cuda.is_initialized():
        _running_in = os.getpid()


@contextmanager
def torch_settings(
    *, tf32: bool | None = None, deterministic: bool = False, threads: int | None = None, benchmark: bool | None = None
) -> Iterator[None]:
    """Settings of torch that belong to the whole process; what was set before is set again at the end.

    tf32 : whether float32 products and convolutions may use TF32 on CUDA. Given either way, float32 on a CPU stays
        exact, whatever `torch.set_float32_matmul_precision` allowed, and products of half precisions on CUDA are added
        up in float32.
    deterministic : only algorithms that give the same bits each time.
    threads : of one operation on the CPU.
    benchmark : whether cuDNN measures which algorithm is the fastest.
    """
    with ExitStack() as stack:
        if tf32 is not None:
            stack.enter_context(_float32(tf32))
        if deterministic:
            stack.enter_context(_deterministic())
        if threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        if benchmark is not None:
            stack.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
            torch.backends.cudnn.benchmark = benchmark
        yield


@contextmanager
def _float32(tf32: bool) -> Iterator[None]:
    backends: Any = torch.backends
    matmul = backends.cuda.matmul
    wanted: list[tuple[Any, str, Any]]
    if hasattr(matmul, "fp32_precision"):
        name, on_cuda = "fp32_precision", "tf32" if tf32 else "ieee"
        # on a CPU the permission for TF32 may mean bfloat16
        wanted = [(matmul, name, on_cuda), (backends.cudnn.conv, name, on_cuda), (backends.mkldnn.matmul, name, "ieee")]
    else:  # torch 2.8
        wanted = [(matmul, "allow_tf32", tf32), (backends.cudnn, "allow_tf32", tf32)]
    wanted += [(matmul, f"allow_{half}_reduced_precision_reduction", False) for half in ("fp16", "bf16")]
    wanted += [(matmul, "allow_fp16_accumulation", False)]
    before = [getattr(backend, name) for backend, name, _ in wanted]
    try:
        for backend, name, value in wanted:
            setattr(backend, name, value)
        yield
    finally:
        for (backend, name, _), was in zip(wanted, before, strict=True):
            setattr(backend, name, was)


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_CUBLAS)
    os.environ.setdefault(_CUBLAS, ":4096:8")  # without it cuBLAS does not promise equal bits
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if workspace is None:
            del os.environ[_CUBLAS]
