"""The engine ray on a cluster of two nodes, joined by $RAY_ADDRESS, one of which is killed in the middle."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from vggfeat.store import Store

pytest.importorskip("ray.data")

from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow  # Ray takes half a minute to believe that a node is lost

N, PART, WAIT = 48, 4, 240


@pytest.fixture
def cluster(monkeypatch):
    """A head and a node, each a group of processes with one CPU."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}.items():
        monkeypatch.setenv(name, value)
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.second = made.add_node(**small)
    yield made
    made.shutdown()


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for n in range(N):
        noise = Image.effect_noise((640, 480), 20 + n).convert("RGB")
        noise.save(tmp_path / "photos" / f"{n:02}.png")
    return tmp_path / "photos"


def started(photos: Path, store: Path, weights: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    settings = ["--weights", weights, "--layer", "pool5", "--scales", "256,384", "--part-size", PART, "--workers", 1]
    command = [sys.executable, "-m", "vggfeat", "extract", photos, "--out", store, *settings, *options]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=os.environ | environment)


def test_a_node_that_is_lost_loses_nothing(cluster, photos, tiny_weights, tmp_path):
    weights = tiny_weights("E", width=1 / 4, top="pool5")
    said, _ = started(photos, tmp_path / "local", weights).communicate(timeout=WAIT)
    assert said == f"{tmp_path / 'local'}: {N} images described\n"
    run = started(photos, tmp_path / "ray", weights, "--engine", "ray", RAY_ADDRESS=cluster.address)
    while len(list((tmp_path / "ray").glob("part-*"))) < 3:
        assert run.poll() is None, "the run ended before the node could be killed: give it more photos"
        time.sleep(0.05)
    cluster.remove_node(cluster.second, allow_graceful=False)
    said, _ = run.communicate(timeout=WAIT)
    assert said == f"{tmp_path / 'ray'}: {N} images described\n"
    assert len(Store(tmp_path / "ray")) == N
    assert Store(tmp_path / "ray").read().equals(Store(tmp_path / "local").read())
    assert {file.name for file in (tmp_path / "ray").iterdir() if file.name.startswith(".")} == {".lock"}
