"""What runs in a process that decodes images. It imports no torch, so that it starts at once and stays small.

A damaged or hostile file then costs its own time and memory only, whatever a decoder written in C makes of it. Nothing
is pickled. A message is the length of its header in four bytes, the header in JSON, and as many bytes as that says:

    parent                                        child
                                                  {}, when it has started
    {path or bytes, max_pixels, ...} and bytes    {memory}, when it has read the header; or {error}, {defect}
    {granted}, when so many bytes are free        {height, width, size, sha256, bytes} and pixels; or {error}, {defect}
    {granted: 0}, if they will never be free      nothing
"""

import faulthandler
import hashlib
import io
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from vggfeat._util.printable import reason_of
from vggfeat.errors import ImageError
from vggfeat.reading import NO_MEMORY, open_regular, opened

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

HEADER = 2**30  # bytes of memory to read the header of an image
SLACK = 2**28  # bytes beyond the granted ones, for what is not counted
THREAD = 2**24  # bytes for each thread that a decoder may start
MAX_MESSAGE = 2**20  # bytes of a header

Message = dict[str, Any]


def send(file: IO[bytes], header: Message, content: Any = None) -> None:
    """Write a message. content : bytes, or an array."""
    if content is not None:
        header = {**header, "bytes": memoryview(content).nbytes}
    text = json.dumps(header).encode()
    file.write(len(text).to_bytes(4, "big") + text)
    if content is not None:
        file.write(memoryview(content).cast("B"))
    file.flush()


def receive(file: IO[bytes]) -> Message | None:
    """Read the header of a message; its bytes follow. None if the other process has ended."""
    start = file.read(4)
    size = int.from_bytes(start, "big")
    text = file.read(size) if len(start) == 4 and size <= MAX_MESSAGE else b""
    if len(text) < size or not text:
        return None
    message: Message = json.loads(text)
    return message


def serve() -> None:
    """Decode images until the parent closes its end, or ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the terminal and a cluster send them to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # libraries write there
        os.dup2(null, standard)
    with suppress(BrokenPipeError):
        send(answers, {})
        while (request := receive(requests)) is not None:
            _decode(request, requests, answers)


def _decode(request: Message, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer one request."""
    found: Message = {}
    pixels = None
    try:
        used = _memory()
        _limit(request["seconds"], used, request["max_bytes"] + HEADER)
        data = requests.read(request["bytes"]) if "bytes" in request else _read(request["path"], request["max_bytes"])
        with opened(_named(data, request.get("path")), request["max_pixels"]) as image:
            faulthandler.cancel_dump_traceback_later()  # the parent may wait for memory
            send(answers, {"memory": image.memory + len(data)})
            granted = (receive(requests) or {"granted": 0})["granted"]
            if not granted:
                return
            _limit(request["seconds"], used, granted)
            pixels = image.pixels(**request["options"])
        height, width, _ = pixels.shape
        found = {"height": height, "width": width, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    except ImageError as error:
        found = {"error": str(error)}
    except MemoryError:
        found = {"error": NO_MEMORY}
    except Exception as error:  # a defect, which the parent reports
        found = {"defect": f"{type(error).__name__}: {error}"}
    finally:
        faulthandler.cancel_dump_traceback_later()
    send(answers, found, pixels)


def _read(path: str, most: int) -> bytes:
    with open_regular(Path(path)) as file:
        try:
            data = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
        except OSError as error:
            raise ImageError(f"{path}: {reason_of(error)}") from error
    if len(data) > most:
        raise ImageError(f"{path}: {too_large(len(data), most)}")
    return data


def too_large(size: int, most: int) -> str:
    """Why a file with so many bytes is not read."""
    return f"has {size:,} bytes, more than {most:,}; reduce it first, or see --max-bytes"


def _named(data: bytes, name: str | None) -> Any:
    """What `opened` takes, so that its messages name the file."""
    if name is None:
        return data
    file = _File(data)
    file.name = name
    return file


class _File(io.BytesIO):
    name: str


def _limit(seconds: float, used: int | None, more: int) -> None:
    """Limit the memory of this process, and end it if it takes far too long: its parent may have ended already."""
    faulthandler.dump_traceback_later(2 * seconds, exit=True)
    if used is not None:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = used + more + SLACK + THREAD * (os.cpu_count() or 1)
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
        )


def _memory() -> int | None:
    """Bytes of memory that this process has; None if the system does not say, and so has no such limit."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except (OSError, AttributeError):
        return None
