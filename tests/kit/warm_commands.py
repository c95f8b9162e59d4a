"""The real command in processes of their own that start at once: forked from one that has imported torch."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import gc, json, os, sys, threading
import numpy, pyarrow.parquet, torch
import vggfeat.cli, vggfeat.extraction.run
gc.freeze()
for line in sys.stdin:
    arguments, environment, output = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.update(environment)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["vggfeat", *arguments]
        try:
            vggfeat.cli.main()
        except SystemExit:
            pass
        threading._shutdown()  # waits for threads, as any end of Python; to take the modules down takes a second
        sys.stdout.flush()
        os._exit(0)
    print(child, flush=True)
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
"""


class Run:
    """A running command; `output` is what it has said so far."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self._log = pid, log

    @property
    def output(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def is_running(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def signal(self, number: int) -> None:
        if self.is_running():
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while self.is_running():
            assert time.monotonic() < end, f"still running after {seconds} s: {self.output}"
            time.sleep(0.01)


class Commands:
    """Starts commands: commands.start("extract", folder, "--out", store, RANK="0")."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self._server, self._folder, self._count = server, folder, 0

    def start(self, *arguments: object, **environment: str) -> Run:
        self._count += 1
        log = self._folder / f"{self._count}.log"
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps([list(map(str, arguments)), environment, str(log)]) + "\n")
        self._server.stdin.flush()
        return Run(int(self._server.stdout.readline()), log)

    def run(self, *arguments: object, **environment: str) -> Run:
        run = self.start(*arguments, **environment)
        run.wait()
        return run


@contextmanager
def commands(folder: Path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield Commands(server, folder)
    finally:
        assert server.stdin and server.stdout
        server.stdin.close()
        server.wait()
        server.stdout.close()
