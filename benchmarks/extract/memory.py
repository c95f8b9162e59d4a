"""Whether the memory of an extraction grows with the number of images: a narrow net, many small images.

    python benchmarks/extract/memory.py                       # 100,000 images in ten tars; one JSON line at the end
    python benchmarks/extract/memory.py --count 20000 --source folder

The images are a hundred different ones under many names: members of tars, or hard links in one folder. The extraction
is the command in a separate process, whose resident memory is read twice a second. "growth_mb" is the highest value
minus the value when a twentieth of the images was described.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vggfeat import nets, weights
from vggfeat.store import Store

SHARDS = 10


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--source", choices=("tar", "folder", "list"), default="tar")
    options.add_argument("--folder", help="where to make the temporary folder of images and store")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        root = Path(folder)
        images = [jpeg(i) for i in range(100)]
        source = {"tar": tars, "folder": links, "list": listed}[chosen.source](root, images, chosen.count)
        print(json.dumps({"source": chosen.source, **measured(source, root, chosen.count)}))


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((40, 32)).save(file, "JPEG")
    return file.getvalue()


def tars(root: Path, images: list[bytes], count: int) -> str:
    for shard in range(SHARDS):
        with tarfile.open(root / f"{shard:02}.tar", "w") as archive:
            for i in range(shard, count, SHARDS):
                info = tarfile.TarInfo(f"{i % 10}/{i:08}.jpg")
                info.size = len(images[i % 100])
                archive.addfile(info, io.BytesIO(images[i % 100]))
    return f"{root}/*.tar"


def links(root: Path, images: list[bytes], count: int) -> str:
    (root / "originals").mkdir()
    (root / "photos").mkdir()
    for i in range(count):
        # the number of links to a file is limited
        original = root / "originals" / f"{i % 100}-{i // 1_000_000}.jpg"
        if not original.exists():
            original.write_bytes(images[i % 100])
        (root / "photos" / f"{i:08}.jpg").hardlink_to(original)
    return f"{root}/photos"


def listed(root: Path, images: list[bytes], count: int) -> str:
    links(root, images, count)
    with (root / "list.csv").open("w") as file:
        file.write("path,label\n")
        file.writelines(f"photos/{i:08}.jpg,{i % 10}\n" for i in range(count))
    return f"{root}/list.csv"


def measured(source: str, root: Path, count: int) -> dict[str, float]:
    net = nets.initialise(nets.VGG("A", width=1 / 16, top="pool5"), "glorot", torch.Generator().manual_seed(0))
    saved = weights.save(
        root / "narrow.safetensors", net.state_dict(), net="A", width=1 / 16, preprocessing=weights.OXFORD,
        lineage="random", source="random", licence="Apache-2.0", classes=None,
    )  # fmt: skip
    store = root / "s.vggfeat"
    command = [sys.executable, "-m", "vggfeat", "extract", source, "--out", store, "--weights", saved.path]
    command += ["--layer", "pool5", "--scales", "32"]
    run = subprocess.Popen(list(map(str, command)))
    seen: list[tuple[int, float]] = []
    while run.poll() is None:
        # the name of a part says how many images come before it
        last = max((int(part.stem.split("-")[1]) for part in store.glob("part-*.parquet")), default=0)
        if rss := resident(run.pid):
            seen.append((last, rss))
        time.sleep(0.5)
    assert run.returncode == 0 and len(Store(store)) == count
    start = next((rss for done, rss in seen if done >= count / 20), None)
    if start is None:
        sys.exit(f"{count} images are too few: one part of the store holds them all; use a larger --count")
    peak = max(rss for _, rss in seen)
    cpu = os.times().children_user + os.times().children_system
    return {
        "images": count,
        "rss_at_a_twentieth_mb": round(start),
        "peak_rss_mb": round(peak),
        "growth_mb": round(peak - start),
        "cpu_s": round(cpu, 1),
    }


def resident(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


if __name__ == "__main__":
    main()
