"""The command. Each body forwards to the library function of the same name, with the same defaults.

Nothing heavy is imported here: `--help` answers at once.
"""

import io
import os
import sys
import warnings
from typing import Annotated, Any

import typer

from vggfeat import __version__
from vggfeat._util.memory import keep_freed_memory
from vggfeat._util.printable import reason_of, say
from vggfeat.cli import bench, demo, describing, doctor, evaluate, explore, index, localize, model, train, weights
from vggfeat.cli.derive import derived
from vggfeat.cli.usage import Command, Group
from vggfeat.errors import UsageError, VggfeatError

__all__ = ["app", "main"]

INTERRUPTED = 130  # the exit status that typer makes of a KeyboardInterrupt

app = typer.Typer(
    cls=Group,
    help="VGG descriptors of images, as Simonyan & Zisserman describe them, and what they are good for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    demo.demo,
    describing.extract,
    model.fit,
    model.predict,
    explore.explore,
    describing.describe,
    describing.classify,
    describing.export,
    bench.bench,
    evaluate.evaluate,
    train.train,
    describing.nets,
    doctor.doctor,
):
    app.command(cls=Command)(derived(command))
app.add_typer(index.app, name="index")
app.add_typer(localize.app, name="localize")
app.add_typer(weights.app, name="weights")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"vggfeat {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: errors become one line on stderr and an exit status (1 failed, 2 wrong usage)."""
    keep_freed_memory()
    _set_output()
    try:
        app()
    except UsageError as error:
        _fail(str(error), 2)
    except VggfeatError as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code != INTERRUPTED:
            raise
        _fail("interrupted; what is done is kept, the same command continues it", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or ''}: {reason_of(error)}".lstrip(": "), 1)


def _set_output() -> None:
    """Any name can be printed; a warning is one line, and Pillow's are left out: reading the file says more."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"vggfeat: warning: {message}")


def _fail(message: str, status: int) -> None:
    say(f"vggfeat: {message}")
    sys.exit(status)
