"""What `vggfeat localize fit` is held against: ridge regression from pool5 of net E to the box, by scikit-learn.

    python benchmarks/localisation/ridge.py ../shared/data/cub-10 --out benchmarks/localisation/results/ridge.json

The data are a folder with boxes.csv (path, label, subset, x0, y0, x1, y1; one box a photo) and images/. A photo is
rescaled to the smallest side S. The central crop of 224x224 goes through the net, without its mirror image. Ridge
regression predicts the centre and the size of the box, in units of the crop. Its strength is chosen by cross-validation
on the training photos. Beside it stand the mean training box, in units of the photo's sides, and the whole image. The
arithmetic of boxes is written out here, so that nothing is shared with what is measured against it.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeCV

import vggfeat
from vggfeat.images import read, rescale

CROP = 224
STRENGTHS = np.logspace(2, 8, 13)
FOLDS = 5


def photos_of(folder: Path, subset: str) -> tuple[list[Path], np.ndarray]:
    """The photos of a subset, and their boxes (N, 4)."""
    with (folder / "boxes.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["subset"] == subset]
    boxes = [[float(row[name]) for name in ("x0", "y0", "x1", "y1")] for row in rows]
    return [folder / "images" / row["path"] for row in rows], np.array(boxes)


def described(paths: list[Path], weights: str, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """pool5 of the central crops, (N, 25088), and the sizes of the photos, width and height."""
    net = vggfeat.backbone("E", layers=["pool5"], weights=weights)
    features, sizes = [], []
    for path in paths:
        pixels = read(path, exif=False)
        photo = rescale(torch.from_numpy(pixels).permute(2, 0, 1), scale)
        top, left = ((side - CROP) // 2 for side in photo.shape[1:])
        crop = photo[:, top : top + CROP, left : left + CROP].float() / 255
        with torch.inference_mode():
            features.append(net(crop.clamp(0, 1)[None])["pool5"].flatten().numpy())
        sizes.append((pixels.shape[1], pixels.shape[0]))
    return np.stack(features), np.array(sizes)


def rescaled(sizes: np.ndarray, scale: int) -> np.ndarray:
    """Width and height of photos whose smallest side is `scale`; the longer side is rounded half up."""
    return np.floor(sizes * scale / sizes.min(axis=1, keepdims=True) + 0.5)


def encode(boxes: np.ndarray, sizes: np.ndarray, scale: int) -> np.ndarray:
    """Centre and size of boxes relative to the central crop, in units of its side."""
    new = rescaled(sizes, scale)
    left_top, right_bottom = boxes[:, :2] * new / sizes, boxes[:, 2:] * new / sizes
    crop = (new - CROP) // 2 + CROP / 2
    return np.hstack([(left_top + right_bottom) / 2 - crop, right_bottom - left_top]) / CROP


def decode(codes: np.ndarray, sizes: np.ndarray, scale: int) -> np.ndarray:
    """The inverse, clipped to the photo."""
    new = rescaled(sizes, scale)
    centre, half = codes[:, :2] * CROP + (new - CROP) // 2 + CROP / 2, codes[:, 2:] * CROP / 2
    boxes = np.hstack([(centre - half) * sizes / new, (centre + half) * sizes / new])
    return np.clip(boxes, 0, np.tile(sizes, 2))


def scores(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Error in per cent (a box is right from IoU 0.5 on), and mean IoU."""
    shared = np.minimum(found[:, 2:], truth[:, 2:]) - np.maximum(found[:, :2], truth[:, :2])
    both = shared.clip(0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1) for boxes in (found, truth)]
    iou = both / (sum(areas) - both)
    return {"error": float(100 * (iou < 0.5).mean()), "mean_iou": float(iou.mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="oxford-int8", help="net E's convolutional layers: a name or a file")
    parser.add_argument("--scale", type=int, default=256)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()

    (paths, boxes), (test_paths, truth) = (photos_of(options.data, subset) for subset in ("train", "test"))
    features, sizes = described(paths + test_paths, options.weights, options.scale)
    train, test = slice(len(paths)), slice(len(paths), None)
    ridge = RidgeCV(STRENGTHS, cv=FOLDS).fit(features[train], encode(boxes, sizes[train], options.scale))
    found = decode(ridge.predict(features[test]), sizes[test], options.scale)
    sides = np.tile(sizes, 2)
    constant = (boxes / sides[train]).mean(axis=0) * sides[test]
    whole = np.hstack([np.zeros_like(sizes[test]), sizes[test]])
    result = {
        "data": options.data.name,
        "weights": Path(options.weights).name,
        "scale": options.scale,
        "train": len(paths),
        "test": len(test_paths),
        "strength": float(ridge.alpha_),
        "ridge": scores(found, truth),
        "constant": scores(constant, truth),
        "whole": scores(whole, truth),
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
