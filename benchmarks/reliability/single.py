"""Attacks on the command, one by one. Each makes its files in a folder, and yields the commands that meet them.

What its last command gives is the outcome; the commands before that prepare it. An attack gets the `Ran` of each, and
may return the outcome in words. Otherwise `attacks.py` finds it: the status, rows, failures and last line.
"""

import csv
import functools
import gzip
import io
import os
import random
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from tests._util.test_hostile_servers import Server
from tests.extraction.test_bounds import slow_jpeg
from tests.kit.hostile_weights import bomb, calls, changed_keras
from tests.kit.image_sources import photo, put
from tests.kit.pixel_files import with_canvas
from tests.kit.training_photos import photo_set
from tests.sources.test_hostile_tars import END, member, pax
from vggfeat import nets, weights


class Command(NamedTuple):
    """Arguments of the command, more of its environment, and the most bytes that it may write to a file."""

    arguments: list[str | Path]
    environment: dict[str, str] = {}  # noqa: RUF012
    file_bytes: int | None = None


class Ran(NamedTuple):
    status: int | None  # None : it was ended when its time was over
    output: str


Attack = Generator[Command, Ran, str | None]


def extract(source: str | Path, store: Path, *options: str | Path) -> Command:
    return Command(
        ["extract", source, "--out", store, "--weights", "slim", "--layer", "pool5", "--scales", "64", *options]
    )


def photos(folder: Path, count: int = 3) -> Path:
    for i in range(count):
        photo(folder / f"photos/{i:02}.png", seed=i)
    return folder / "photos"


# One image


def a_pax_size_of_minus_5(folder: Path) -> Attack:
    put(photos(folder) / "t.tar", member("a.mp4", b"a") + pax(size=-5) + member() + END)
    yield extract(folder / "photos", folder / "s")


def a_member_of_10_to_17_bytes(folder: Path) -> Attack:
    put(photos(folder) / "t.tar.gz", gzip.compress(pax(size=10**17) + member("big.jpg")))
    yield extract(folder / "photos", folder / "s")


def webps(folder: Path, count: int) -> Path:
    small = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    small[0].save(file, "WEBP", save_all=True, append_images=small[1:], lossless=True)
    for i in range(count):
        put(folder / f"photos/{i}.webp", with_canvas(file.getvalue(), 9400, 9400))
    return folder / "photos"


def one_webp_of_148_bytes(folder: Path) -> Attack:
    yield extract(webps(folder, 1), folder / "s")


def four_webps_of_148_bytes(folder: Path) -> Attack:
    yield extract(webps(folder, 4), folder / "s", "--workers", "4")


def members_of_256_mb(folder: Path) -> Attack:
    with (photos(folder) / "t.tar").open("wb") as file:  # of zeros that the disk need not hold
        for i in range(14):
            file.write(member(f"{i:02}.jpg", size=2**28))
            file.seek(2**28, os.SEEK_CUR)
        file.write(END)
    yield extract(folder / "photos", folder / "s")


def a_jpeg_of_3000_scans(folder: Path) -> Attack:
    put(photos(folder) / "slow.jpg", slow_jpeg(3000))
    ran = yield extract(folder / "photos", folder / "s", "--image-seconds", "3")
    if "No such option" in ran.output:  # before there were limits of time
        yield extract(folder / "photos", folder / "s")
    return None


def a_ppm_of_maxval_254(folder: Path) -> Attack:
    (folder / "photos").mkdir()
    side = 4865
    put(folder / "photos/a.ppm", b"P6 %d %d 254\n" % (side, side) + bytes(3 * side**2))
    yield extract(folder / "photos", folder / "s")


def a_jpeg_whose_lower_half_is_missing(folder: Path) -> Attack:
    data = photo(photos(folder) / "whole.jpg", (640, 480), quality=95).read_bytes()
    put(folder / "photos/half.jpg", data[: len(data) // 2] + b"\xff\xd9")
    yield extract(folder / "photos", folder / "s")


def a_pipe_among_the_photos(folder: Path) -> Attack:
    os.mkfifo(photos(folder) / "pipe.jpg")
    put(folder / "l.txt", b"photos/00.png\nphotos/pipe.jpg\n")
    yield extract(folder / "l.txt", folder / "s")


def names_of_any_bytes(folder: Path) -> Attack:
    for name in (b"\xff.png", b"a\n.png", b"\x1b[31m.png"):
        shutil.copy(photos(folder) / "00.png", os.fsencode(folder / "photos") + b"/" + name)
    yield extract(folder / "photos", folder / "s")


# Lists and addresses


@contextmanager
def web(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def a_remote_list_of_local_files(folder: Path) -> Attack:
    """A row is that of a file of this machine, which whoever wrote the list must not read."""
    secret = photo(folder / "secret/a.png")
    addresses = [f"{scheme}{secret}" for scheme in ("file://", "FILE://", "local://", "zip://x::file://", "")]
    put(folder / "web/list.txt", "\n".join(addresses).encode())
    with web(folder / "web") as address:
        yield extract(f"{address}/list.txt", folder / "s")
    return None


def braces_without_end(folder: Path) -> Attack:
    yield extract(f"{photos(folder)}/{{0..99999999999999}}.png", folder / "s")


def a_line_of_4_gb(folder: Path) -> Attack:
    with (folder / "l.csv").open("wb") as file:
        file.write(b"path\na.png\n")
        file.truncate(2**32)  # zeros that the disk need not hold
    yield extract(folder / "l.csv", folder / "s")


def links_into_itself(folder: Path) -> Attack:
    for name in "abc":
        (photos(folder) / name).symlink_to(folder / "photos")
    yield extract(f"{folder}/photos/**/*.png", folder / "s")


# Stores, checkpoints, exports


def random_weights(file: Path) -> Path:
    """Of a net as wide as slim."""
    net = nets.initialise(nets.VGG("A", width=3 / 16, top="pool5"), "glorot", torch.Generator().manual_seed(0))
    weights.save(
        file, net.state_dict(), net="A", width=3 / 16, preprocessing=weights.OXFORD, lineage="random", source="random",
        licence="Apache-2.0", classes=None,
    )  # fmt: skip
    return file


def a_part_of_other_weights(folder: Path) -> Attack:
    """Rows of the other store in the export are foreign."""
    other = random_weights(folder / "other.safetensors")
    (folder / "others").mkdir()
    for i in range(14):
        photo(folder / f"others/other{i}.png", seed=100 + i)
    yield extract(photos(folder), folder / "s")
    yield extract(folder / "others", folder / "o", "--weights", other)
    (part,) = (folder / "o").glob("part-*")
    shutil.copy(part, folder / "s" / "part-00003.parquet")
    ran = yield Command(["export", folder / "s", folder / "x.csv"])
    if ran.status:
        return None
    with (folder / "x.csv").open(newline="") as lines:
        rows = [row["path"] for row in csv.DictReader(lines)]
    return f"{sum('other' in name for name in rows)} foreign rows of {len(rows)}"


def a_deep_meta_json(folder: Path) -> Attack:
    yield extract(photos(folder), folder / "s")
    put(folder / "s/meta.json", b'{"format": ' + b"[" * 10**5 + b"]" * 10**5 + b"}")
    yield Command(["export", folder / "s", folder / "x.csv"])


def a_bit_flip_in_a_checkpoint(folder: Path) -> Attack:
    """In the momentum or the net, after one epoch of two."""
    sets = photo_set(folder / "data")
    options = ["--net", "A", "--width", "0.03125", "--batch", "6", "--lr", "0.001", "--workers", "0", "--device", "cpu"]
    train = ["train", "--data", sets, "--out", folder / "run", *options]
    yield Command([*train, "--epochs", "1"])
    file = folder / "run/checkpoint.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[random.Random(15).randrange(start, len(data)) & ~3 | 3] ^= 2  # of the exponent of a float32
    file.write_bytes(data)
    yield Command([*train, "--epochs", "2"])


def exports_to_a_full_disk(folder: Path) -> Attack:
    yield extract(photos(folder, 40), folder / "s")
    ran = yield Command(["export", folder / "s", folder / "x.h5"], file_bytes=8000)
    left = sorted(file.name for file in folder.iterdir() if file.name.startswith("x"))
    return None if not left else f"status {ran.status}, leaves {', '.join(left)}"


# Weights and fetching


def a_pth_that_asks_for_3_gb(folder: Path) -> Attack:
    yield Command(["weights", "verify", calls(folder)[2]])


def an_h5_that_unpacks_to_gigabytes(folder: Path) -> Attack:
    yield Command(["weights", "verify", changed_keras(folder / "x.h5", bomb)])


def means_of_1e308_deviations_of_1e_minus_320(folder: Path) -> Attack:
    file = random_weights(folder / "x.safetensors")
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata() | {"mean": "1e308,1e308,1e308", "std": "1e-320,1e-320,1e-320"}
    save_file(tensors, file, metadata)
    yield Command(["weights", "verify", file])


def a_server_that_always_says_416(folder: Path) -> Attack:
    put(folder / "vgg16_weights_tf_dim_ordering_tf_kernels.h5.part", b"begun")
    answer = b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n"
    server = Server(lambda sent, _: sent.sendall(answer))
    nowhere = "http://127.0.0.1:9"  # no other address is reached
    environment = {"VGGFEAT_MIRROR": server.url(""), "VGGFEAT_CACHE": str(folder), "no_proxy": "127.0.0.1"}
    try:
        yield Command(["weights", "fetch", "oxford"], environment | {"https_proxy": nowhere, "http_proxy": nowhere})
    finally:
        server.close()
    return None


ATTACKS: dict[str, Callable[[Path], Attack]] = {
    "a tar with a PAX size of -5": a_pax_size_of_minus_5,
    "a tar.gz of 153 bytes whose member claims 10^17": a_member_of_10_to_17_bytes,
    "a WebP of 148 bytes, two frames of 9400x9400": one_webp_of_148_bytes,
    "four of them, four decoders": four_webps_of_148_bytes,
    "14 members of 256 MB that are no images": members_of_256_mb,
    "a progressive JPEG of 3,000 scans, --image-seconds 3": a_jpeg_of_3000_scans,
    "a valid PPM of 71 MB, maxval 254": a_ppm_of_maxval_254,
    "a JPEG whose lower half is missing": a_jpeg_whose_lower_half_is_missing,
    "a pipe in a list": a_pipe_among_the_photos,
    "names that are not UTF-8, with line breaks and colours": names_of_any_bytes,
    "file://, FILE://, local://, zip://x::file:// in a remote list": a_remote_list_of_local_files,
    "{0..99999999999999}.png": braces_without_end,
    "a list with a line of 4 GB": a_line_of_4_gb,
    "** over three links to the folder itself": links_into_itself,
    "a part of other weights copied into a store, then export": a_part_of_other_weights,
    "a meta.json nested 100,000 deep, then export": a_deep_meta_json,
    "a bit flip in a checkpoint, then train": a_bit_flip_in_a_checkpoint,
    "export to .h5 on a full disk": exports_to_a_full_disk,
    "a .pth of 1 KB that asks for 3 GB": a_pth_that_asks_for_3_gb,
    "an .h5 that unpacks to gigabytes": an_h5_that_unpacks_to_gigabytes,
    "weights with means of 1e308 and deviations of 1e-320": means_of_1e308_deviations_of_1e_minus_320,
    "a server that always says 416": a_server_that_always_says_416,
}
