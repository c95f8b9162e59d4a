"""The progress bar: off a terminal whole lines, none of them before there is something to tell."""

import io
import sys

import pytest

from vggfeat._util.progress import progress, say_beside, skip


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def test_a_log_gets_a_line_a_minute_and_one_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a second an image, and 130 of them; the total is known after the first."""
    bar = progress(None, "describing")
    assert capsys.readouterr().err == ""  # not 0/?
    for _ in range(130):
        clock.now += 0.5
        bar.update(1)
        bar.total = 130
    bar.close()
    assert capsys.readouterr().err.splitlines() == [
        "describing: 120/130 [01:00<00:05,  2.00 image/s]",
        "describing: 130/130 [01:05<00:00,  2.00 image/s]",
    ]


def test_a_total_that_nobody_knows(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(None, "unpacking", "B", unit_scale=True) as bar:
        clock.now += 2
        bar.update(3_000_000)
    assert capsys.readouterr().err == "unpacking: 3.00M [00:02, 1.50M B/s]\n"


def test_nothing_done_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(10, "describing"):
        pass
    with progress(10, "describing", disable=True) as bar:
        bar.update(10)
    assert capsys.readouterr().err == ""


def test_what_was_there_before_counts(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A download that goes on: 40 of 100 bytes were there, and the rate is that of the others."""
    with progress(100, "net.bin", "B", initial=40) as bar:
        clock.now += 2
        bar.update(60)
    assert capsys.readouterr().err.splitlines()[-1] == "net.bin: 100/100 [00:02<00:00, 30.00 B/s]"


def test_what_an_earlier_run_has_done_is_skipped(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """90 images were there, 20 of the other 30 are described within a minute: 3 s each, 30 s left."""
    with progress(120, "describing") as bar:
        skip(bar, 50)
        skip(bar, 40)
        for _ in range(20):
            clock.now += 3
            bar.update(1)
        assert capsys.readouterr().err == "describing: 110/120 [01:00<00:30,  3.00s/ image]\n"
    with progress(10, "describing", disable=True) as bar:
        skip(bar, 10)


def test_a_line_beside_a_bar_of_a_log(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2, "training") as bar:
        bar.update(1)
        say_beside(bar, "epoch 0: done")
        assert capsys.readouterr().err == "epoch 0: done\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_beside_a_bar_of_a_terminal_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(2, "training") as bar:
        say_beside(bar, "epoch 0: done")
        before, after = terminal.getvalue().split("epoch 0: done\n")
        assert before.endswith("\r") and after.startswith("\rtraining:")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(2, "describing") as bar:
        bar.update(2)
    assert "100%|" in terminal.getvalue()
