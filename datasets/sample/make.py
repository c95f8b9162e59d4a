"""Make the photos inside the package of Caltech-101, the same bytes each time.

python datasets/sample/make.py ../shared/data/caltech101/101_ObjectCategories

Photos are copied as they are, except for the planted ones, which `plant` makes. It also writes `sha256.txt`, the
checksums of all files. The planted files were made with Pillow 13.0.0 and libjpeg-turbo 3.2.0.
"""

import argparse
import hashlib
import io
import shutil
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "vggfeat" / "assets" / "sample"
# Class -> numbers of its photos: the first ones that are photos, not drawings, show no face of a person, and are
# not the same picture as another one.
CHOSEN = {
    "butterfly": [1, 2, 3, 5, 6, 7, 8, 10, 13, 14, 15, 16, 18, 20, 22, 24, 25, 26, 27, 28, 30, 32, 33, 38],
    "elephant": [1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 15, 16, 17, 19, 20, 23, 25, 27, 28, 29, 31, 33, 34, 39],
    "flamingo": [2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 15, 16, 17, 19, 20, 23, 24, 25, 26, 27, 28, 33, 34, 35, 36],
    "hawksbill": [1, 2, 3, 6, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 26, 27, 28, 34, 35, 39, 41, 42, 43],
    "ibis": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 25, 27, 28, 29],
    "kangaroo": [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 19, 20, 21, 26, 27, 32, 33, 35, 37, 38, 39],
    "ketch": [1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15, 16, 19, 20, 21, 26, 28, 29, 32, 33, 35, 36, 39, 40, 44],
    "llama": [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 16, 17, 18, 19, 20, 22, 23, 26, 28, 30, 31, 32],
    "lotus": [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 22, 27, 28, 29, 30, 31, 32],
    "water_lilly": [1, 2, 3, 4, 5, 7, 8, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 25, 26, 27, 28, 29],
}


def jpeg(image: Image.Image, quality: int, **options: bytes) -> bytes:
    """An image as the bytes of a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def plant(photos: Path) -> dict[str, bytes]:
    """The planted files: their names and bytes."""

    def stored(name: str) -> bytes:
        return (photos / name).read_bytes()

    def pixels(name: str) -> Image.Image:
        return Image.open(io.BytesIO(stored(name)))

    whole = pixels("hawksbill/image_0011.jpg")
    smaller = whole.resize((whole.width * 9 // 10, whole.height * 9 // 10), Image.Resampling.LANCZOS)
    whole = pixels("elephant/image_0008.jpg")
    cropped = whole.crop((whole.width // 20, whole.height // 20, whole.width, whole.height))
    sideways = Image.Exif()
    sideways[0x0112] = 6  # Orientation: to be shown turned by 90 degrees, clockwise
    turned = pixels("butterfly/image_0047.jpg").transpose(Image.Transpose.ROTATE_90)
    broken = stored("water_lilly/image_0031.jpg")
    return {
        "hawksbill/image_0011_smaller.jpg": jpeg(smaller, 70),
        "elephant/image_0008_cropped.jpg": jpeg(cropped, 85),
        "llama/image_0042_of_kangaroo.jpg": stored("kangaroo/image_0042.jpg"),
        "butterfly/image_0047_turned.jpg": jpeg(turned, 90, exif=sideways.tobytes()),
        "water_lilly/image_0031_broken.jpg": broken[: len(broken) * 6 // 10],
    }


def make(photos: Path) -> dict[str, bytes]:
    """All files: their names and bytes."""
    names = [f"{folder}/image_{number:04}.jpg" for folder, numbers in CHOSEN.items() for number in numbers]
    return {name: (photos / name).read_bytes() for name in names} | plant(photos)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path, help="the folder 101_ObjectCategories")
    made = make(parser.parse_args().photos)
    sums = "".join(f"{hashlib.sha256(made[name]).hexdigest()}  {name}\n" for name in sorted(made))
    if OUT.exists():
        shutil.rmtree(OUT)
    for name, data in made.items():
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).write_bytes(data)
    print(f"{OUT}: {len(made)} files, {sum(map(len, made.values())):,} bytes")
    (HERE / "sha256.txt").write_text(sums, encoding="utf-8")
