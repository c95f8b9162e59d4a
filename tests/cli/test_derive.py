"""Commands from settings: names, types, defaults and help are those of the dataclass."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from vggfeat.cli.derive import Several, Without, derived
from vggfeat.errors import UsageError


@dataclass(frozen=True)
class Base:
    """Settings that others extend.

    Parameters
    ----------
    sides : sequence of int
        Sides in pixels.
    """

    sides: tuple[int, ...] = (256, 384)


@dataclass(frozen=True)
class Settings(Base):
    """Settings of the test.

    Parameters
    ----------
    colour : {"red", "green"}
        Which colour.

        A second paragraph, for readers of the documentation.
    count, most : int
        How many.
    folder : str, path or None
        Where to write.
    loud : bool
        Print more.
    mirror : bool
        Mirror the image.
    ceil : bool
        Round up.
    hidden : int
        Not offered.
    """

    colour: Literal["red", "green"] = "red"
    count: int = 3
    most: int | None = None
    folder: str | Path | None = None
    loud: bool = False
    mirror: bool = True
    ceil: bool = field(default=False, metadata={"flags": "--ceil/--floor"})
    hidden: int = 7

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"count must be at least 1, not {self.count}")


@pytest.fixture
def command():
    """Run the derived command; the settings that its body got, or what it printed."""
    got = []

    def body(name: str = "here", *, settings: Annotated[Settings, Without("hidden")]) -> None:
        """Do something."""
        got.append((name, settings))

    app = typer.Typer(rich_markup_mode=None)
    app.command()(derived(body))

    def run(*words):
        got.clear()
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
        return got[0] if got else result

    return run


def test_defaults(command):
    assert command() == ("here", Settings())


def test_every_kind_of_option(command):
    words = "--sides 64,96 --colour green --count 5 --most 9 --folder x/y --loud --no-mirror --ceil"
    expected = Settings(
        sides=(64, 96), colour="green", count=5, most=9, folder=Path("x/y"), loud=True, mirror=False, ceil=True
    )
    assert command("--name", "there", *words.split()) == ("there", expected)
    assert command("--floor", "--mirror") == ("here", Settings())


def test_help_is_the_first_paragraph_of_the_docstring(command):
    text = " ".join(command("--help").output.split())
    for said in ("Which colour.", "Sides in pixels.", "[default: 256,384]", "<red|green>", "Do something."):
        assert said in text
    assert text.count("How many.") == 2
    assert "second paragraph" not in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--colour", "blue"], "'blue' is not one of 'red', 'green'"),
        (["--sides", "big"], "give whole numbers with commas, such as 256,384,512"),
        (["--count", "many"], "Invalid value for '--count'"),
        (["--hidden", "1"], "No such option"),
        (["--no-loud"], "No such option"),
    ],
)
def test_wrong_usage(command, words, said):
    result = command(*words)
    assert result.exit_code == 2
    assert said in result.output


def test_settings_refuse_invalid_values(command):
    with pytest.raises(UsageError, match="count must be at least 1, not 0"):
        command("--count", "0")


def test_a_line_of_help_lists_few_choices_only():
    @dataclass(frozen=True)
    class Many:
        layer: Literal["a", "b", "c", "d", "e", "f", "g", "h", "i"] | None = None

    def body(*, many: Many) -> None:
        """Do something."""

    app = typer.Typer(rich_markup_mode=None)
    app.command()(derived(body))
    text = CliRunner().invoke(app, ["--help"]).output
    assert "--layer LAYER" in text
    assert "a|b" not in text
    assert "'i'" in CliRunner().invoke(app, ["--layer", "j"]).output  # the error lists them


def test_several_values_make_an_object_for_each():
    got = []

    def body(*, several: Annotated[list[Settings], Without("hidden"), Several("colour", "Or both.")]) -> None:
        """Do something."""
        got.extend(several)

    app = typer.Typer(rich_markup_mode=None)
    app.command()(derived(body))
    CliRunner().invoke(app, ["--colour", "green, red", "--count", "5"], catch_exceptions=False)
    assert got == [Settings(colour="green", count=5), Settings(colour="red", count=5)]
    got.clear()
    CliRunner().invoke(app, [], catch_exceptions=False)
    assert got == [Settings()]
    text = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "--colour COLOUR,... Which colour. Or both. [default: red]" in text
