"""Make the net inside the package: Oxford's convolutional layers of net E, rounded to 8 bits.

python benchmarks/bundled/make.py ../shared/weights/vgg19-oxford-conv-fp16.safetensors
"""

import argparse
from dataclasses import replace
from pathlib import Path

from vggfeat import weights
from vggfeat.weights.native import save_as
from vggfeat.weights.published import REGISTRY
from vggfeat.weights.rounding import rounded

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", type=Path, help="native file of net E's convolutional layers")
given = weights.read(parser.parse_args().file)
tensors = rounded(weights.load(given, "pool5").state_dict())
facts = replace(given, source=f"{given.source}; rounded to 8 bits for each output channel")
made = save_as(REGISTRY.assets / REGISTRY.named["oxford-int8", "E"].file, tensors, facts)
print(f"{made.path}: {made.path.stat().st_size:,} bytes, sha256 {made.sha256}")
