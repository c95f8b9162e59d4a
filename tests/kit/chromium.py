"""A headless chromium, controlled over a pipe by the DevTools protocol."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BINARY = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # there is no network
)
# chromium reads commands from descriptor 3 and answers on 4.
LAUNCH = """
import os, sys
commands, answers = map(int, sys.argv[1:3])
os.dup2(commands, 100), os.dup2(answers, 101), os.dup2(100, 3), os.dup2(101, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextmanager
def chromium(profile: Path) -> Iterator["Tab"]:
    """The tab of a running browser; skips the test if there is no browser."""
    if BINARY is None:
        pytest.skip("needs chromium, which is not installed")
    commands, out = os.pipe()
    answers, into = os.pipe()
    words = [sys.executable, "-c", LAUNCH, str(commands), str(into), BINARY, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        words, pass_fds=(commands, into), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    os.close(commands)
    os.close(into)
    with process, os.fdopen(out, "wb", 0) as write, os.fdopen(answers, "rb") as read:
        try:
            yield Tab(write, read)
        finally:
            write.close()  # chromium ends when its pipe is closed
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


class Tab:
    """A page in the browser. events : the messages of the browser that are not answers."""

    def __init__(self, out: Any, into: Any) -> None:
        self._out, self._answers = out, into
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._session: str | None = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        """The next message; each ends with a NUL."""
        data = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "chromium has ended"
            data += byte
        return json.loads(data)

    def open(self, page: Path | str, width: int, *, dark: bool = False, media: str = "screen") -> None:
        """Show a file, or the page of a server on this machine, in a window of this width; wait until it is loaded."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def value(self, expression: str) -> Any:
        """The value of an expression (or a promise) in the page; the page's security policy does not apply to it."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def events_of(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of these events since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") in methods]
