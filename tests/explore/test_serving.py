"""vggfeat explore as a command."""

import re
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

pytest.importorskip("starlette", reason="needs starlette")

from tests.kit.explorers import photo_store
from vggfeat.errors import ModelError, StoreError, UsageError
from vggfeat.explore import ExploreSettings, explore


def test_a_port_in_use_is_one_line(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"port {port}: cannot be used \(Address already in use\); name another --port"
        ):
            explore(tmp_path, port=port)


def test_what_is_neither_store_nor_model_is_one_line(tmp_path):
    with pytest.raises(StoreError, match="is no descriptor store"):
        explore(tmp_path)
    (tmp_path / "birds.vggmodel").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"birds\.vggmodel: is not a whole safetensors file .*; name a model"):
        explore(tmp_path / "birds.vggmodel")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        ExploreSettings(photos=tmp_path / "gone")
    with pytest.raises(UsageError, match=r"port must be from 0 to 65,535"):
        ExploreSettings(port=70_000)


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(UsageError, match=r"explore needs openTSNE.*pip install 'vggfeat\[explore\]'"):
        explore(tmp_path)


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    words = [sys.executable, "-m", "vggfeat", "explore", str(photo_store(tmp_path, each=2)), "--no-browser"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", line)[0]
        assert "6 photos" in line
        assert b"<h1" in urlopen(address).read()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
