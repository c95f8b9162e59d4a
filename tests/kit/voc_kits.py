"""Small VOC development kits: the official layout, with photos that a tiny net can tell apart.

All 20 classes with difficult objects; people who share an image, do several actions or none, and are ignored.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.kit.boxed_photos import xml
from vggfeat.data.actions import ACTIONS
from vggfeat.data.voc import CLASSES

SUBSETS = ("train", "val", "test")
IMAGES = 40  # in each subset: every class is shown by two of them, and by two more as their second class


def colour(k: int) -> np.ndarray:
    """One of twenty colours that differ clearly."""
    return np.array([k % 3, k // 3 % 3, k // 9]) * 100.0 + 25


def photo(file: Path, left: int, right: int, seed: int) -> None:
    """48x64, noisy; the left half in one colour, the right half in another."""
    pixels = np.concatenate([np.tile(colour(k), (48, 32, 1)) for k in (left, right)], axis=1)
    noisy = np.clip(pixels + np.random.default_rng(seed).normal(0, 8, pixels.shape), 0, 255)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.astype(np.uint8)).save(file, quality=95)


def lists(kit: Path, task: str, name: str, lines: list[str]) -> None:
    file = kit / "ImageSets" / task / f"{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def classification_kit(top: Path, year: int) -> Path:
    """Image n of a subset shows class n % 20, and class n % 20 + 1 if n < 20; if n is 7 the second is difficult.

    In 2012 the lists of test have no labels.
    """
    kit = top / "VOCdevkit" / f"VOC{year}"
    for s, subset in enumerate(SUBSETS):
        ids = [f"{year}_{s}{n:05d}" for n in range(IMAGES)]
        lists(kit, "Main", subset, ids)
        for n, image in enumerate(ids):
            photo(kit / "JPEGImages" / f"{image}.jpg", n % 20, (n + (n < 20)) % 20, 100 * s + n)
        if (year, subset) != (2012, "test"):
            for k, name in enumerate(CLASSES):
                lists(kit, "Main", f"{name}_{subset}", [f"{i} {label(n, k):2d}" for n, i in enumerate(ids)])
    return top


def label(n: int, k: int) -> int:
    """1 shown, 0 only difficult objects, -1 not shown."""
    if k == n % 20:
        return 1
    second = n < 20 and k == (n + 1) % 20
    return (0 if n == 7 else 1) if second else -1


def action_kit(top: Path) -> Path:
    """Object 1 of an image is a horse. In image n object 2, left, does action n % 11 (10: none of the ten).

    Object 3, right, does the next one, and in every fourth image walks as well. The list of jumping leaves out
    image 3 of each subset, and that of reading ignores object 2 of image 5.
    """
    kit = top / "VOCdevkit" / "VOC2012"
    for s, subset in enumerate(SUBSETS):
        rows: dict[str, list[str]] = {name: [] for name in ACTIONS}
        for n in range(22):
            image = f"2010_{s}{n:05d}"
            does = {2: {n % 11}, 3: {(n + 1) % 11} | ({9} if n % 4 == 0 else set())}
            photo(kit / "JPEGImages" / f"{image}.jpg", n % 11, (n + 1) % 11, 500 + 100 * s + n)
            annotate(kit / "Annotations" / f"{image}.xml")
            for k, name in enumerate(ACTIONS):
                for index, actions in does.items():
                    if name == "jumping" and n == 3:
                        continue
                    value = 0 if (name, n, index) == ("reading", 5, 2) else 1 if k in actions else -1
                    rows[name].append(f"{image} {index}" + ("" if subset == "test" else f" {value:2d}"))
        for name, lines in rows.items():
            lists(kit, "Action", f"{name}_{subset}", lines)
    return top


def annotate(file: Path) -> None:
    boxes = [
        ("horse", 1, 1, 9, 9),
        ("person", 1, 1, 32, 48),
        ("person", 33, 1, 70, 48),
    ]  # the last leaves the image
    xml(file, *boxes)
