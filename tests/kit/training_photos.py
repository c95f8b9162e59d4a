"""Small sets of photos to train on, and the recipe of a net that is small as well."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# A of 1/32 of the channels; a step takes a fraction of a second.
TINY: dict[str, Any] = {"net": "A", "width": 1 / 32, "lr": 0.001, "batch": 6, "micro": 4, "epochs": 2}
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def photo(path: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (64, 48)) -> Path:
    """A PNG of (width, height) whose pixels lie around a colour."""
    noise = np.random.default_rng(seed).integers(-40, 41, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def photo_set(root: Path, train: int = 7, val: int = 2, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """root/train/<class>/0.png ... and root/val/<class>/0.png ..., of three sizes."""
    sizes = ((64, 48), (48, 64), (300, 260))
    for part, count in (("train", train), ("val", val)):
        for number, name in enumerate(classes):
            for i in range(count):
                seed = 1000 * number + i + (500 if part == "val" else 0)
                photo(root / part / name / f"{i}.png", COLOURS[name], seed, sizes[i % 3])
    return root


def box_csv(root: Path, train: int = 7, val: int = 2, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """root/boxes.csv, with a box of each class's colour on grey in the photos of root/images."""
    sizes = ((96, 64), (64, 96), (300, 260))
    rows = ["path,label,x0,y0,x1,y1,subset"]
    for part, count in (("train", train), ("val", val)):
        for number, name in enumerate(classes):
            for i in range(count):
                draw = np.random.default_rng(1000 * number + i + (500 if part == "val" else 0))
                width, height = sizes[i % 3]
                x0, y0 = draw.integers(0, width // 3), draw.integers(0, height // 3)
                x1, y1 = x0 + width // 2, y0 + height // 2
                pixels = draw.integers(90, 130, (height, width, 3))
                pixels[y0:y1, x0:x1] = COLOURS[name]
                path = root / "images" / f"{part}-{name}-{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
                rows.append(f"{path.name},{name},{x0},{y0},{x1},{y1},{part}")
    file = root / "boxes.csv"
    file.write_text("\n".join(rows) + "\n")
    return file
