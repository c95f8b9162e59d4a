"""How much small differences in preparing an image change its descriptor: cosines with the descriptor of vggfeat.

Photos of the package (the first two of each class), the net of the package (E up to pool5), one scale, mirror image on.
"""

import argparse
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate, normalize

from vggfeat import __version__, backbone, images, weights
from vggfeat.data.sample import SAMPLE

PARSER = argparse.ArgumentParser(description=__doc__)
PARSER.add_argument("--q", type=int, default=128)
PARSER.add_argument("--each", type=int, default=2, help="photos of each class")
PARSER.add_argument("--out", type=Path)


def main() -> None:
    args = PARSER.parse_args()
    files = [file for folder in sorted(SAMPLE.iterdir()) for file in sorted(folder.glob("*.jpg"))[: args.each]]
    oxford = weights.resolve("oxford-int8", top="pool5")
    nets = {
        "": backbone(weights=oxford),
        "ceil": backbone(weights=oxford, ceil=True),
        "no mean": backbone(weights=replace(oxford, preprocessing=replace(weights.OXFORD, mean=(0.0, 0.0, 0.0)))),
        "torchvision": backbone(weights=replace(oxford, preprocessing=weights.TORCHVISION)),
    }
    photos = [images.read(file) for file in files]
    ours = [ours_of(photo, args.q) for photo in photos]
    right = torch.stack([descriptor(nets[""], pixels) for pixels in ours])
    rows = {}
    for name, (net, make, mirror) in variants(nets, args.q).items():
        made = [
            descriptor(net, make(photo) if make else pixels, mirror) for photo, pixels in zip(photos, ours, strict=True)
        ]
        cosines = (torch.stack(made) * right).sum(1)
        rows[name] = {"mean": cosines.mean().item(), "least": cosines.min().item()}
        print(f"{name:60} mean {rows[name]['mean']:.5f}  least {rows[name]['least']:.5f}", flush=True)
    between = (right @ right.T)[~np.eye(len(right), dtype=bool)].reshape(len(right), -1)
    nearest = between.max(1).values
    record = {"q": args.q, "photos": len(files), "rows": rows, "version": __version__, "torch": torch.__version__}
    record["nearest other photo"] = {"mean": nearest.mean().item(), "largest": nearest.max().item()}
    record["any other photo"] = {"mean": between.mean().item()}
    print(f"{'nearest other photo':60} mean {nearest.mean():.5f}  largest {nearest.max():.5f}")
    print(f"{'any other photo':60} mean {between.mean():.5f}")
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def variants(nets: dict, q: int) -> dict:
    """Name -> net, what makes an image (3, h, w) in 0..255 of a photo (None: as vggfeat), and the mirror image."""
    net = nets[""]
    pillow = Image.Resampling
    return {
        "Pillow, bilinear (torchvision's transforms)": (net, lambda p: by_pillow(p, q, pillow.BILINEAR), True),
        "Pillow, bicubic": (net, lambda p: by_pillow(p, q, pillow.BICUBIC), True),
        "Pillow, Lanczos": (net, lambda p: by_pillow(p, q, pillow.LANCZOS), True),
        "bilinear without antialiasing (OpenCV, TensorFlow)": (net, lambda p: plain(p, q, "bilinear"), True),
        "nearest pixel (Keras' load_img)": (net, lambda p: plain(p, q, "nearest-exact"), True),
        "squashed to a square, antialiased": (net, lambda p: tensor(resized(p, q, q, pillow.BILINEAR)), True),
        "square from the centre": (net, lambda p: centre(ours_of(p, q), q), True),
        "JPEG compressed again, quality 75": (net, lambda p: ours_of(again(p), q), True),
        "turned by 90 degrees (EXIF orientation not read)": (net, lambda p: ours_of(np.rot90(p).copy(), q), True),
        "grey": (net, lambda p: ours_of(p, q).mean(0, keepdim=True).expand(3, -1, -1), True),
        "without the mirror image": (net, None, False),
        "pooled sizes rounded up (Caffe)": (nets["ceil"], None, True),
        "colours in the wrong order": (net, lambda p: ours_of(p, q).flip(0), True),
        "mean not subtracted": (nets["no mean"], None, True),
        "torchvision's preprocessing for Oxford's weights": (nets["torchvision"], None, True),
    }


def descriptor(net: torch.nn.Module, pixels: torch.Tensor, mirror: bool = True) -> torch.Tensor:
    """pool5 averaged over space (and mirror image), norm 1."""
    batch = torch.stack([pixels, pixels.flip(2)] if mirror else [pixels])
    with torch.inference_mode():
        return normalize(net(batch / 255)["pool5"].mean((0, 2, 3)), dim=0)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float()


def ours_of(photo: np.ndarray, q: int) -> torch.Tensor:
    return images.rescale(tensor(photo), q)


def resized(photo: np.ndarray, height: int, width: int, method: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((width, height), method))


def by_pillow(photo: np.ndarray, q: int, method: Image.Resampling) -> torch.Tensor:
    return tensor(resized(photo, *images.rescaled_size(*photo.shape[:2], q), method))


def plain(photo: np.ndarray, q: int, mode: str) -> torch.Tensor:
    return interpolate(tensor(photo)[None], images.rescaled_size(*photo.shape[:2], q), mode=mode)[0]


def centre(pixels: torch.Tensor, q: int) -> torch.Tensor:
    top, left = (pixels.shape[1] - q) // 2, (pixels.shape[2] - q) // 2
    return pixels[:, top : top + q, left : left + q]


def again(photo: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


if __name__ == "__main__":
    main()
