"""Whole-file writes, locks and signatures, tested with real processes."""

import errno
import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vggfeat._util.files import (
    Locked,
    check_folder,
    check_writable,
    lock,
    remove_leftovers,
    replacing,
    reserve,
    signature,
    write_text,
)
from vggfeat.errors import UsageError


@contextmanager
def process(code: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the code; it has printed "ready", and waits for a line before it goes on."""
    imports = "import os, signal, sys, time\nfrom pathlib import Path\nfrom vggfeat._util.files import *\n"
    command = [sys.executable, "-c", f"{imports}file = Path(sys.argv[1])\n{code}", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            assert running.stdout is not None and running.stdout.readline() == "ready\n"
            yield running
        finally:
            running.kill()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "Ω [a] file.txt"


# Whole-file writes


def test_a_file_is_replaced_at_the_end_of_the_block(file: Path) -> None:
    file.write_text("old")
    with replacing(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
        assert temporary.parent == file.parent
    assert file.read_text() == "new"
    assert list(file.parent.iterdir()) == [file]


def test_text_is_utf_8(file: Path) -> None:
    write_text(file, "Ω\n")
    assert file.read_bytes() == "Ω\n".encode()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("x"), "^x$"),
        (KeyboardInterrupt(), "^$"),
        (SystemExit(3), "^3$"),
        (OSError(errno.EIO, "x"), re.escape(os.strerror(errno.EIO))),
    ],
)
def test_a_failed_block_leaves_the_old_file_alone(error: BaseException, said: str, file: Path) -> None:
    file.write_text("old")
    with pytest.raises(type(error), match=said), replacing(file) as temporary:
        temporary.write_text("half")
        raise error
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_an_interrupted_process_cleans_up(file: Path) -> None:
    file.write_text("old")
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)
with replacing(file) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
    with process(code, file) as running:
        running.send_signal(signal.SIGINT)
        assert running.wait(20) != 0
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


KILLED = """
with replacing(file) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_killed_writer_leaves_the_old_file(file: Path) -> None:
    file.write_text("old")
    longer = file.with_name(f"{file.name}.zip")
    with process(KILLED, file), process(KILLED, longer):
        pass
    assert file.read_text() == "old"
    left = {name.name for name in file.parent.iterdir()} - {file.name}
    assert len(left) == 2
    remove_leftovers(file)
    (other,) = {name.name for name in file.parent.iterdir()} - {file.name}
    assert other in left and other.startswith(f".{longer.name}.")
    write_text(file, "new")
    assert file.read_text() == "new"


def test_leftovers_where_there_is_no_folder(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "none" / "x")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_what_the_umask_says(mask: int, mode: int, file: Path) -> None:
    before = os.umask(mask)
    try:
        with replacing(file) as temporary:
            temporary.chmod(0o400)  # as some libraries do
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == mode


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target"
    file.symlink_to(target)
    for text in ("first", "second"):  # the target does not exist at first
        write_text(file, text)
        assert file.is_symlink() and target.read_text() == text
    with process(KILLED, file):
        pass
    assert len(list(target.parent.iterdir())) == 2
    remove_leftovers(file)
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_is_written_directly(file: Path) -> None:
    os.mkfifo(file)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(file.read_text()))
    reader.start()
    write_text(file, "through the pipe")
    reader.join(20)
    assert found == ["through the pipe"]
    assert file.is_fifo()


def test_a_device_stays_a_device() -> None:
    write_text(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()


def test_a_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)), replacing(tmp_path):
        raise AssertionError("the block ran")


def test_a_leftover_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    """The temporary name may exist already, if it is an owner's."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f".{file.name}-mine.tmp").symlink_to(tmp_path / "precious")
    with replacing(file, "-mine") as temporary:
        assert temporary.name == f".{file.name}-mine.tmp"
        temporary.write_text("new")
    assert (file.read_text(), (tmp_path / "precious").read_text()) == ("new", "precious")


def test_two_writers_at_once_do_not_mix(file: Path) -> None:
    with replacing(file) as first, replacing(file) as second:
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first"  # the block that ended last
    assert list(file.parent.iterdir()) == [file]


def test_two_processes_at_once_do_not_mix(file: Path) -> None:
    code = """
print("ready", flush=True)
sys.stdin.readline()
for _ in range(100):
    write_text(file, sys.argv[2] * 100_000)
"""
    whole = {letter * 100_000 for letter in "ab"}
    write_text(file, "a" * 100_000)
    with process(code, file, "a") as one, process(code, file, "b") as two:
        for running in (one, two):
            assert running.stdin is not None
            running.stdin.write("\n")
            running.stdin.flush()
        while one.poll() is None or two.poll() is None:
            assert file.read_text() in whole
        assert (one.returncode, two.returncode) == (0, 0)
    assert list(file.parent.iterdir()) == [file]


# The errors of a write


def sync_fails(monkeypatch: pytest.MonkeyPatch, code: int, folders: bool) -> None:
    """os.fsync fails for folders, or for files."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}") == folders:  # noqa: PTH112
            raise OSError(code, "words of the test")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_errors_keep_their_number_and_name_the_file(code: int, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("old")
    sync_fails(monkeypatch, code, folders=False)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        write_text(file, "new")
    assert (caught.value.errno, caught.value.filename, caught.value.strerror) == (code, str(file), os.strerror(code))
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_a_missing_folder_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none/x") as caught:
        write_text(tmp_path / "none" / "x", "")
    assert caught.value.filename == str(tmp_path / "none" / "x")


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError("no room\nand a page of words"), "no room"), (OSError(), "OSError")]
)
def test_errors_of_libraries_become_one_line(error: OSError, reason: str, file: Path) -> None:
    with pytest.raises(OSError, match=reason) as caught, replacing(file):
        raise error
    assert (caught.value.errno, caught.value.strerror) == (errno.EIO, reason)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EISDIR])
def test_a_system_that_cannot_sync_folders(
    code: int, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sync_fails(monkeypatch, code, folders=True)
    write_text(file, "new")
    assert file.read_text() == "new"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failing_disk_is_a_line_and_no_error_once_the_file_is_there(
    code: int, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A caller who is told of an error would write the same rows again."""
    sync_fails(monkeypatch, code, folders=True)
    write_text(file, "new")
    assert file.read_text() == "new"
    said = f"{file}: is written, but its folder cannot be synced ({os.strerror(code)}); check the disk\n"
    assert capsys.readouterr().err == said


def test_a_folder_that_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def open_(path: Any, *rest: Any, **options: Any) -> int:
        if Path(path) == file.parent:
            raise PermissionError(errno.EACCES, "words of the test")
        return really(path, *rest, **options)

    monkeypatch.setattr(os, "open", open_)
    write_text(file, "new")
    assert file.read_text() == "new"


# Reserved space


def no_space_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")


def unsupported_space_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.EOPNOTSUPP))


@pytest.mark.parametrize("system", [lambda _: None, no_space_call, unsupported_space_call])
def test_reserved_space_is_taken_from_the_disk(
    system: Callable[..., None], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system(monkeypatch)
    size = 3 * 2**20 + 5
    with file.open("wb") as opened:
        opened.write(b"head")
        reserve(opened, size)
    assert file.read_bytes() == b"head" + bytes(size)
    assert 512 * file.stat().st_blocks >= size


@pytest.mark.parametrize("system", [lambda _: None, no_space_call])
def test_a_full_disk_is_an_error_of_the_reservation(
    system: Callable[..., None], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a process stands for the end of the disk."""
    system(monkeypatch)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), file.open("wb", buffering=0) as opened:
            reserve(opened, 2**22)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)


# Locks

HOLD = """
with lock(file, shared={shared}, per_process={per_process}):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def hold(shared: bool = False, per_process: bool = False) -> str:
    return HOLD.format(shared=shared, per_process=per_process)


PER_PROCESS = pytest.mark.parametrize("per_process", [False, True])


@PER_PROCESS
@pytest.mark.parametrize(("theirs", "ours"), [(False, False), (False, True), (True, False)])
def test_a_lock_excludes_other_processes(theirs: bool, ours: bool, per_process: bool, file: Path) -> None:
    with process(hold(theirs, per_process), file) as holder:
        with pytest.raises(Locked, match=r"file\.txt"), lock(file, shared=ours, per_process=per_process):
            raise AssertionError("two hold the lock")
        holder.kill()
        holder.wait()
        with lock(file, shared=ours, per_process=per_process):
            pass
    assert file.exists()


@PER_PROCESS
def test_a_shared_lock_is_shared(per_process: bool, file: Path) -> None:
    with process(hold(True, per_process), file), lock(file, shared=True, per_process=per_process):
        pass


@PER_PROCESS
def test_a_lock_is_waited_for(per_process: bool, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lock(file, wait="waiting", per_process=per_process):
        pass
    assert capsys.readouterr().err == ""
    with process(hold(False, per_process), file) as holder:
        threading.Timer(0.3, holder.kill).start()
        with lock(file, wait="waiting for another process", per_process=per_process):
            assert holder.wait(20) == -signal.SIGKILL
    assert capsys.readouterr().err == "waiting for another process\n"


def test_two_threads_exclude_each_other(file: Path) -> None:
    with lock(file), pytest.raises(Locked, match=r"file\.txt"), lock(file):
        raise AssertionError("two hold the lock")


FORK = """
def ready():
    print("ready", flush=True)
    sys.stdin.readline()
with lock(file, per_process={per_process}):
    if os.fork() == 0:
        sys.stdin.readline()
        os._exit(0)
    {inside}
ready()
"""


def test_a_lock_is_free_after_the_block_though_a_child_lives(file: Path) -> None:
    with process(FORK.format(per_process=False, inside="pass"), file), lock(file):
        pass


@PER_PROCESS
def test_a_child_keeps_the_lock_of_a_killed_process_unless_per_process(per_process: bool, file: Path) -> None:
    with process(FORK.format(per_process=per_process, inside="ready()"), file) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        if per_process:
            with lock(file, per_process=True):
                pass
        else:
            with pytest.raises(Locked, match=r"file\.txt"), lock(file):
                raise AssertionError("two hold the lock")


@PER_PROCESS
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks(code: int, per_process: bool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "lockf" if per_process else "flock", failing(code))
    with lock(file, per_process=per_process) as opened:
        assert opened.name == str(file)


@PER_PROCESS
def test_a_lock_that_is_lost_while_it_is_waited_for(
    per_process: bool, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [errno.EAGAIN, errno.ENOLCK, errno.ENOLCK]
    monkeypatch.setattr(fcntl, "lockf" if per_process else "flock", lambda *_: failing(codes.pop(0))())
    with lock(file, wait="waiting", per_process=per_process):
        assert capsys.readouterr().err == "waiting\n"


def test_other_errors_of_a_lock_are_raised(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="none"), lock(tmp_path / "none" / "x"):
        pass
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with pytest.raises(OSError, match="words of the test"), lock(file):
        pass


def failing(code: int) -> Callable[..., None]:
    def fail(*arguments: Any) -> None:
        raise OSError(code, "words of the test")

    return fail


# Signatures


def test_a_signature_changes_with_the_file(file: Path) -> None:
    file.write_text("one")
    first = signature(file)
    with file.open() as opened:
        assert signature(opened) == first
    assert first is not None and first.size == 3
    assert signature(opened) is None  # closed
    write_text(file, "two")  # of the same size
    assert signature(file) != first
    again = signature(file)
    os.utime(file, ns=(0, 0))
    assert signature(file) != again


def test_a_file_that_cannot_be_inspected_has_no_signature(file: Path) -> None:
    assert signature(file) is None
    assert signature(Path("a\0b")) is None


def test_what_can_be_written(tmp_path):
    (tmp_path / "old").touch()
    (tmp_path / "link").symlink_to(tmp_path / "old")
    for file in (tmp_path / "new", tmp_path / "old", tmp_path / "link", Path(os.devnull)):
        check_writable(file)
        write_text(file, "text")


@pytest.mark.parametrize(("name", "said"), [("", "is a folder; name a file"), ("none/x", "none: no such folder for x")])
def test_what_cannot_be_written(tmp_path, name, said):
    with pytest.raises(UsageError, match=said):
        check_writable(tmp_path / name)
    with pytest.raises(OSError, match=re.escape(str(tmp_path / name))):
        write_text(tmp_path / name, "text")


def test_which_folder_can_be_made_or_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folder(tmp_path)
    check_folder(tmp_path / "new/and newer")
    assert not (tmp_path / "new").exists()
    for folder in (tmp_path / "file", tmp_path / "file/below/it"):
        with pytest.raises(UsageError, match=f"{re.escape(str(tmp_path))}/file: is a file, not a folder"):
            check_folder(folder)


def test_a_relative_folder_below_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder(Path("a/b"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match=r"^\.: cannot be written; name another folder"):
        check_folder(Path("a/b"))


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, os.fsdecode(b"\xff" * 255), "a" * 230 + ".parquet"])
def test_a_name_as_long_as_the_disk_allows_is_written_and_its_leftovers_are_found(tmp_path, name):
    file = tmp_path / name
    for text in ("first", "second"):
        write_text(file, text)
    assert file.read_text() == "second"
    with pytest.raises(RuntimeError, match="stop"), replacing(file) as temporary:
        shutil.copy(temporary, f"{temporary}.kept")
        raise RuntimeError("stop")
    left = next(tmp_path.glob("*.kept"))
    left.rename(left.with_suffix(""))
    remove_leftovers(file)
    assert list(tmp_path.iterdir()) == [file]


def test_long_names_that_begin_alike_have_leftovers_of_their_own(tmp_path):
    one, two = tmp_path / ("a" * 254 + "1"), tmp_path / ("a" * 254 + "2")
    with replacing(one) as temporary:
        remove_leftovers(two)
        temporary.write_text("one")
    assert one.read_text() == "one"


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").touch()
    for folder, said in (
        (tmp_path / "link", "link: is a link that leads to no folder; name another folder"),
        (tmp_path / "link" / "a" / "b", "link: is a link that leads to no folder"),
        (tmp_path / "file" / "a", "file: is a file, not a folder"),
        (tmp_path / "new" / ("a" * 256), "has a name of more than 255 bytes"),
        (tmp_path / ("é" * 128), "has a name of more than 255 bytes"),
    ):
        with pytest.raises(UsageError, match=said):
            check_folder(folder)
    check_folder(tmp_path / "new" / ("é" * 127))
