"""One request to a web server: http and https only, no endless redirects, no endless waiting, no secret passed on."""

import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from ssl import create_default_context
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from vggfeat._util.printable import hidden, printable, reason_of

REASON = 200  # characters of a server's words, at most


class Failed(Exception):
    """Why an address did not give the file."""


class Interrupted(Failed):
    """Another attempt at the same address may succeed."""


class Watch:
    """Ends a connection if fewer than `least` bytes come in a period. The headers must come within one period.

    The timeout of a socket does not do this, because it starts again with each byte.

    period : seconds. least : bytes. received : bytes until now; whoever reads adds to it.
    """

    def __init__(self, period: float, least: int) -> None:
        self.received, self.too_slow = 0, False
        self._period, self._least = period, least
        self._socket: socket.socket | None = None
        self._over = Event()

    def over(self, connection: HTTPConnection) -> None:
        """Watch this connection from now on."""
        self._socket = connection.sock

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch until the end of the block."""
        thread = Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        before = 0
        while not self._over.wait(self._period):
            if self.received - before < self._least:
                self.too_slow = True
                if self._socket is not None:
                    with suppress(OSError):  # SSLSocket.shutdown would also remove the state that the reader uses
                        socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            before = self.received


class _Connection(HTTPConnection):
    def __init__(self, *arguments: Any, watch: Watch, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._watch = watch

    def getresponse(self) -> HTTPResponse:
        self._watch.over(self)
        return super().getresponse()


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Http(HTTPHandler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(partial(_Connection, watch=self._watch), request)


class _Https(HTTPSHandler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def https_open(self, request: Request) -> HTTPResponse:
        connect = partial(_SecureConnection, watch=self._watch)
        return self.do_open(connect, request, context=create_default_context())


class _Redirects(HTTPRedirectHandler):
    """Follows ten redirects at most, to http and https, never from https to http. A password stays at its server."""

    def redirect_request(
        self, request: Request, answer: Any, code: int, message: str, headers: Any, address: str
    ) -> Request | None:
        answer.close()  # urllib would read its body, which may have no end
        before, after = _parts(request.full_url), _parts(address)
        if before.scheme == "https" and after.scheme != "https":
            raise Failed("the server redirects from https to http")
        if after.username is not None:
            raise Failed("the server redirects to an address with a password")
        follow = super().redirect_request(request, answer, code, message, headers, address)
        password = request.unredirected_hdrs.get("Authorization")
        if follow and password and before[:2] == after[:2]:
            follow.add_unredirected_header("Authorization", password)
        return follow


def request(url: str, headers: dict[str, str], timeout: float, watch: Watch) -> HTTPResponse:
    """The server's answer, of which only the headers have been read. Raises Failed, and HTTPError for the status 416.

    url : may hold user and password, which the server is told. timeout : seconds without a byte.
    """
    asked = _to_ask(url, headers)
    try:
        answer: HTTPResponse = _opener(watch).open(asked, timeout=timeout)
    except HTTPError as error:
        if error.code == 416:
            raise
        error.close()
        raise Failed(_unfollowed(error) or f"the server answers {error.code} {words(error.reason)}") from None
    except URLError as error:
        raise Failed(why_failed(watch, error.reason)) from None
    except (ValueError, InvalidURL):  # their text may hold the password of a proxy
        raise Failed("an invalid redirect of the server, or an invalid proxy in the environment") from None
    except (OSError, HTTPException) as error:
        raise Failed(why_failed(watch, error)) from None
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        answer.close()
        raise Failed(f"the server sends the file encoded ({words(encoding)})")
    return answer


def why_failed(watch: Watch, error: BaseException | str) -> str:
    """Why a request failed, in printable words."""
    if watch.too_slow:
        return "the server is too slow"
    return words(error if isinstance(error, str) else reason_of(error))


def words(text: object) -> str:
    """What a server says, for an error line."""
    return printable(hidden(str(text)), REASON)


def _unfollowed(error: HTTPError) -> str:
    """Why a redirect was not followed, as the reason of urllib tells; empty for other errors."""
    reason = str(error.reason) if error.code // 100 == 3 else ""
    if "infinite loop" in reason:
        return "the server redirects too often"
    return "the server redirects to an address that is not http" if "is not allowed" in reason else ""


def _parts(url: str) -> SplitResult:
    """The parts of an address. Raises Failed if it is not one of http or https."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (checks it)
    except ValueError:
        raise Failed("not a valid address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failed("not an http address")
    if not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        raise Failed("not a valid address: a space or a special character in it is written as %20")
    return parts


def _to_ask(url: str, headers: dict[str, str]) -> Request:
    parts = _parts(url)
    user, _, host = parts.netloc.rpartition("@")
    asked = Request(parts._replace(netloc=host, fragment="").geturl(), headers=headers)
    if user:
        asked.add_unredirected_header("Authorization", f"Basic {b64encode(unquote(user).encode()).decode()}")
    return asked


def _opener(watch: Watch) -> OpenerDirector:
    """urllib, for http and https only, through the proxies of the environment."""
    opener = OpenerDirector()
    handlers = (_Http(watch), _Https(watch), _Redirects(), HTTPErrorProcessor(), HTTPDefaultErrorHandler())
    for handler in (ProxyHandler(), *handlers):
        opener.add_handler(handler)
    return opener
