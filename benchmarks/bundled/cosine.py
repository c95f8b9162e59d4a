"""Compare descriptors of the net inside the package with those of the float16 weights from which it was made.

    python benchmarks/bundled/cosine.py ../shared/weights/vgg19-oxford-conv-fp16.safetensors PHOTOS

PHOTOS is a folder of class folders; of each class the first photo is taken, until there are enough.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import vggfeat

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("weights", type=Path, help="native file of net E's convolutional layers in float16")
parser.add_argument("photos", type=Path)
parser.add_argument("--images", type=int, default=100)
parser.add_argument("--scales", default="256,384,512")
parser.add_argument("--out", type=Path, help="JSON file for the results")
options = parser.parse_args()

photos = [sorted(folder.glob("*.jpg"))[0] for folder in sorted(options.photos.iterdir()) if folder.is_dir()]
photos = photos[: options.images]
results = []
for q in map(int, options.scales.split(",")):
    given, ours = (
        vggfeat.describe(photos, layer="pool5", scales=(q,), weights=str(weights))
        for weights in (options.weights, "oxford-int8")
    )
    cosine = (given * ours).sum(axis=1)
    results.append({"scale": q, "images": len(photos), "least": float(cosine.min()), "mean": float(cosine.mean())})
    print(f"Q={q}: least cosine {np.min(cosine):.6f}, mean {np.mean(cosine):.6f} over {len(photos)} photos")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
