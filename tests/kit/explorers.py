"""A small store of photos, and its page on a running server."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from PIL import Image

from vggfeat._util.files import size_and_change
from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer

CLASSES = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (30, 60, 200)}
TOKEN = "token"
STORED, OBJECT = (90, 60), (10, 5, 40, 50)  # the size of a photo before it is turned, and the box in it


def photo_store(folder: Path, each: int = 10, name: str = "s.vggfeat", **facts: Any) -> Path:
    """A store of `each` photos of each of three colours; the descriptors of a colour are near each other.

    facts : further ones of its fingerprint.
    """
    rng = np.random.default_rng(0)
    photos, records = folder / "photos", []
    for number, (label, colour) in enumerate(CLASSES.items()):
        (photos / label).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            file = photos / label / f"{i}.jpg"
            Image.new("RGB", (80, 60), colour).save(file, quality=95)
            vector = (3 * np.eye(8)[number] + rng.normal(scale=0.5, size=8)).astype(np.float32)
            records.append(record(f"{label}/{i}.jpg", label, vector, file))
    return write_store(folder / name, records, photos, **facts)


def record(
    name: str, label: str | None, vector: np.ndarray, file: Path | None = None, size: tuple[int, int] = (80, 60)
) -> Record:
    """A row. file : the photo that it describes. size : width and height."""
    identity = Identity(*size_and_change(file), sha256(file.read_bytes()).hexdigest()) if file else Identity()
    return Record(name, label, *size, {64: vector}, identity)


def write_store(path: Path, records: Sequence[Record], source: Path, **facts: Any) -> Path:
    with Writer(path, {"scales": [64], **facts}, source=str(source)) as writer:
        writer.commit(records)
    return path


def lying(folder: Path, orientation: int) -> Path:
    """A photo with a white rectangle at OBJECT; EXIF says that it lies in this way."""
    pixels = np.zeros((STORED[1], STORED[0], 3), np.uint8)
    pixels[OBJECT[1] : OBJECT[3], OBJECT[0] : OBJECT[2]] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / "1.png", exif=exif)
    return folder / "1.png"


def found_in(
    file: Path, size: Sequence[int], exif: bool = False, box: Iterable[int] = OBJECT, **changed: Any
) -> dict[str, Any]:
    """What localize predict writes of a photo."""
    objects = [{"label": "jay\n", "probability": 0.9, "box": list(box), "confidence": 2.0, "candidates": 3}]
    one = {"path": f"photos/{file.name}", "sha256": sha256(file.read_bytes()).hexdigest(), "exif": exif}
    return {**one, "width": size[0], "height": size[1], "objects": objects, **changed}


@contextmanager
def serving(desk) -> Iterator["Site"]:
    """The page of a desk on a running server."""
    import uvicorn

    from vggfeat.explore.serving import listening
    from vggfeat.explore.site import application

    with listening(0) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(application(desk, TOKEN), log_level="warning", lifespan="off"))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Site(port)
        finally:
            server.should_exit = True
            thread.join()


class Site:
    """Asks a server on this machine. address : of its page."""

    def __init__(self, port: int) -> None:
        self.port, self.address = port, f"http://127.0.0.1:{port}/{TOKEN}/"

    def __call__(
        self, path: str, token: str = f"/{TOKEN}/", host: str | None = None, body: bytes | None = None
    ) -> HTTPResponse:
        """The answer to a request whose path is sent as it is; its `data` are the bytes."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest("GET" if body is None else "POST", token + path, skip_host=True)
        connection.putheader("Host", f"127.0.0.1:{self.port}" if host is None else host)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.data = answer.read()
        connection.close()
        return answer
