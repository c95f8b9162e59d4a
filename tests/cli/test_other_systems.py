"""The commands without what macOS and Windows lack. The system is simulated on Linux; see `tests.kit.other_systems`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.kit.foreign_files import torchvision_net
from tests.kit.other_systems import NO_UNIX
from vggfeat import load

SOURCE = Path(__file__).parents[2]
RUN = """
import json, sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module=r"vggfeat\\.")  # Windows has other defaults
from tests.kit import other_systems
getattr(other_systems, sys.argv[1])()

from vggfeat import cli, load

for words in json.loads(sys.argv[2]):
    print(*words, flush=True)
    cli.app(words, standalone_mode=False)
load("s", mmap="mapped.npy")
"""
NET = "--weights slim --layer pool5 --scales 32"
COMMANDS = f"""
extract photos --out s {NET}
extract photos --out s {NET}
extract photos/*/*/*.png {NET}
describe photos/train/dark/Ω.0.png --out d.csv {NET}
export s x.npy
export s x.npy
export s x.npz
export s x.h5
export s x.csv
export s x.mat
bench folder --root photos/train {NET} --seeds 1 --jobs 1 --stores b --json r.json --report r.html --save-splits s.json
train --data photos --out run --net A --width 0.0625 --batch 4 --epochs 1 --lr 1e-4 --device cpu --cache-dir c
describe photos/train/dark/Ω.0.png --weights w.pth --layer pool5 --scales 32
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part, label in (("train", "dark"), ("train", "light"), ("val", "dark"), ("val", "light")):
        folder = tmp_path / "photos" / part / label
        folder.mkdir(parents=True)
        for i in range(6):
            pixels = np.full((40, 50, 3), 150 * (label == "light") + 10 * i, np.uint8)
            Image.fromarray(pixels).save(folder / f"Ω.{i}.png")


# What macOS lacks, Windows lacks as well.
@pytest.mark.parametrize(
    ("system", "left_out"),
    [
        ("windows", ("bench", "train")),
        pytest.param("windows", (), marks=pytest.mark.slow),
        pytest.param("macos", ("bench", "train"), marks=pytest.mark.slow),
    ],
)
def test_the_commands_run_on_other_systems(system, left_out, photos, tmp_path):
    torch.save(torchvision_net("A").state_dict(), "w.pth")
    commands = [line.split() for line in COMMANDS.strip().splitlines() if not line.startswith(left_out)]
    ran = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", RUN, system, json.dumps(commands)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "VGGFEAT_CACHE": str(tmp_path / "cache"),
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(SOURCE),
        },
    )
    assert ran.returncode == 0, ran.stdout[-500:] + ran.stderr[-3000:]
    X = load("s").X
    assert X.shape == (24, 96)
    for file in ("x.npy", "mapped.npy"):
        np.testing.assert_array_equal(np.load(file), X)
    assert not list(tmp_path.rglob("*.tmp"))


def test_two_files_import_a_module_of_unix_and_bear_that_it_is_missing():
    """The commands above do not reach every file."""
    package = SOURCE / "vggfeat"
    imports = re.compile(rf"^\s*(import|from) ({'|'.join(NO_UNIX)})\b", re.MULTILINE)
    found = {file.relative_to(package).as_posix() for file in package.rglob("*.py") if imports.search(file.read_text())}
    assert found == {"_util/files.py", "extraction/decoder_process.py"}
