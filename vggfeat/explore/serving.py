"""explore: reads a store or a model, and serves its page until it is interrupted."""

import os
import secrets
import socket
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from vggfeat._util.options import takes
from vggfeat._util.printable import printable, reason_of, say
from vggfeat.errors import UsageError
from vggfeat.explore.settings import ExploreSettings

if TYPE_CHECKING:
    from vggfeat.explore.desk import Desk

HOST = "127.0.0.1"


@takes(settings=ExploreSettings)
def explore(source: str | Path, *, settings: ExploreSettings) -> None:
    """Show the photos of a store, or of a model, as a map in a page on this machine, until the process is interrupted.

    The map is computed in the background, and kept in the folder _explore of the store. It is made from the graph of
    nearest neighbours in the index of the store, which is made if there is none; faiss is not needed. The address of
    the page, which has a secret token, is printed on stderr.

    Parameters
    ----------
    source : str or path
        A store; or the file of a model that `vggfeat.fit` has trained on one. The page of a model shows its store, the
        confusions of its classes, and the labels that it doubts, as it saw the photos while they were held out.
    photos, decisions, boxes, port, browser
        See `ExploreSettings`.
    settings : ExploreSettings, optional
        All of these as one object, instead of them.

    Raises
    ------
    StoreError
        If `source` is neither a store nor a file; if the store has no rows, or is damaged.
    ModelError
        If the file is no model; if the store of the model is not found, or has changed since.
    DataError
        If the file of decisions or of boxes is damaged.
    UsageError
        If an argument is invalid, the port is in use, or the packages of the extra `explore` are not installed.
    """
    _need_packages()
    with listening(settings.port) as listener:
        import uvicorn

        from vggfeat.explore.site import application

        desk = desk_of(source, settings)
        desk.decisions()
        token = secrets.token_urlsafe(24)
        address = f"http://{HOST}:{listener.getsockname()[1]}/{token}/"
        config = uvicorn.Config(application(desk, token), log_level="warning", access_log=False, lifespan="off")
        desk.layout.start()
        say(f"{desk.collection.store.path}: {len(desk.collection):,} photos at {address} (Ctrl-C ends it)")
        if settings.browser:
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with suppress(KeyboardInterrupt):  # the usual end
            uvicorn.Server(config).run(sockets=[listener])
        desk.layout.end()


def desk_of(source: str | Path, settings: ExploreSettings) -> "Desk":
    """The desk of a store or a model. Raises StoreError, ModelError."""
    from vggfeat.explore.collection import read_collection
    from vggfeat.explore.desk import Desk

    file = Path(source)
    if not file.is_file():
        return Desk(read_collection(source), settings)
    from vggfeat.explore.predictions import predictions_of
    from vggfeat.model.file import read
    from vggfeat.model.stores import store_of

    content, _ = read(file)
    collection = read_collection(store_of(content, file).path)
    return Desk(collection, settings, predictions_of(content, printable(file.name), collection))


def _need_packages() -> None:
    """Raise UsageError if a package is missing. They are not imported yet: the page comes first, then the map."""
    for package in ("openTSNE", "starlette", "uvicorn"):
        if find_spec(package) is None:
            need = "pip install 'vggfeat[explore]'"
            raise UsageError(f"explore needs {package}, which is not installed: {need}")


def listening(port: int) -> socket.socket:
    """A socket that listens on a port of this machine only. Raises UsageError."""
    listener = socket.socket()
    try:
        if os.name == "posix":  # elsewhere this would share a port in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UsageError(f"port {port}: cannot be used ({reason_of(error)}); name another --port") from error
    return listener
