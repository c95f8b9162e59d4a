"""Photos for run.py in a folder that is small enough to be carried to a machine.

    python benchmarks/gpu/data.py caltech101/101_ObjectCategories .gpu-data --photos 1200 --megabytes 22

Photos at equal distances in the sorted list, under their own names, until so many, or so many megabytes, are copied.
Weights are not needed: step_weights makes them of the ones inside the package.
"""

import argparse
import shutil
from pathlib import Path


def copy(source: Path, out: Path, number: int, megabytes: float) -> tuple[int, int]:
    """(photos, bytes) that were copied. Raises SystemExit if there are none."""
    files = sorted(source.rglob("*.jpg"))
    if not files:
        raise SystemExit(f"{source}: has no photos (*.jpg); name the folder of Caltech-101's categories")
    number = min(number, len(files))
    copied = size = 0
    for file in (files[i * len(files) // number] for i in range(number)):
        size += file.stat().st_size
        if size > megabytes * 2**20:
            size -= file.stat().st_size
            break
        target = out / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        copied += 1
    return copied, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=1200)
    parser.add_argument("--megabytes", type=float, default=22)
    options = parser.parse_args()
    copied, size = copy(options.source, options.out, options.photos, options.megabytes)
    print(f"{copied} photos, {size / 2**20:.1f} MB, in {options.out}")


if __name__ == "__main__":
    main()
