"""The folders and files of a web server. Imported only if aiohttp is installed."""

import asyncio
import html
import io
import re
from contextlib import suppress
from typing import IO, Any
from urllib.parse import urlsplit

from aiohttp import ClientTimeout
from fsspec.asyn import sync, sync_wrapper
from fsspec.implementations.http import HTTPFileSystem, HTTPStreamFile

from vggfeat.sources.unpacking import Owned

SILENT_SECONDS = 300  # to wait for a server in the middle of a file
BUFFER = 2**20
MAX_PAGE = 2**26  # bytes of the page of a folder; servers write about 150 for each file
MAX_LINKS = 2**20  # of a folder, about 0.5 KB of memory each

# No part can match the same text in two ways, so the time grows only with the length of the page.
_LINK = re.compile(r"""<a\s[^<>]{0,999}?href=["']([^"'<>]{1,4096})|(https?://[-a-zA-Z0-9@:%_+.~#?&/=]{1,4096})""", re.I)


class Stream(HTTPStreamFile):
    """A file that is read once, in one request, whose connection is closed when `close` returns. fsspec's is not."""

    r: Any = None  # fsspec's name for the answer; there is none if the request failed

    def close(self) -> None:
        answer, self.r = self.r, None
        if answer is not None:
            running = None
            with suppress(RuntimeError):
                running = asyncio.get_running_loop()
            if running is self.loop:  # the garbage collector called this in its thread, which cannot wait for itself
                answer.close()
            else:
                sync(self.loop, self._close_answer, answer)
        super(HTTPStreamFile, self).close()

    async def _close_answer(self, answer: Any) -> None:
        answer.close()


class Web(HTTPFileSystem):
    """fsspec's file system, with bounds. fsspec reads a page of any length, in a time that grows with its square."""

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Stream:
        """fsspec asks for the size before, in one or two more requests."""
        return Stream(self, path, mode, self.loop, sync(self.loop, self.set_session), **self.kwargs)

    def _raise_not_found_for_status(self, response: Any, url: str) -> None:
        if not response.ok:
            response.close()  # fsspec leaves it open, until the garbage collector finds it
        super()._raise_not_found_for_status(response, url)

    async def _ls(
        self, url: str, detail: bool = True, page: int = MAX_PAGE, links: int = MAX_LINKS, **_: Any
    ) -> list[Any]:
        """The links of a folder's page that lead into it. Raises ValueError for more bytes or links."""
        found = await self._links(url, page, links)
        if not found and url.endswith("/"):
            found = await self._links(url.rstrip("/"), page, links)
        if not detail:
            return sorted(found)
        return [{"name": u, "size": None, "type": "directory" if u.endswith("/") else "file"} for u in found]

    ls = sync_wrapper(_ls)

    async def _links(self, url: str, most_bytes: int, most_links: int) -> set[str]:
        session, page = await self.set_session(), bytearray()
        async with session.get(self.encode_url(url), **self.kwargs) as answer:
            self._raise_not_found_for_status(answer, url)
            if answer.headers.get("Content-Type", "text/html").partition(";")[0] != "text/html":
                return set()
            async for piece in answer.content.iter_chunked(BUFFER):
                page += piece
                if len(page) > most_bytes:
                    raise ValueError(f"the page of this folder has more than {most_bytes:,} bytes; name a list instead")
            text = page.decode(answer.charset or "utf-8", errors="ignore")
        folder, found = url.rstrip("/") + "/", set[str]()
        for link in _LINK.finditer(text):
            if target := _inside(html.unescape(link[1] or link[2]), folder):
                found.add(target)
            if len(found) > most_links:
                raise ValueError(f"this folder has more than {most_links:,} links; name a list instead")
        return found


def _inside(link: str, folder: str) -> str | None:
    """The address of a link; None if it leads out of its folder."""
    at = urlsplit(folder)
    if link.startswith("/") and len(link) > 1:
        link = f"{at.scheme}://{at.netloc}{link}"
    if not link.startswith(("http://", "https://")):
        return None if link in ("..", "../") else folder + link.lstrip("/")
    return link if link.split("://")[1].startswith(folder.split("://")[1]) else None


def front_to_back(system: Web, path: str) -> IO[bytes]:
    """Open a file to read it once, in one request: not every server sends parts of a file."""
    patience = ClientTimeout(total=None, sock_read=SILENT_SECONDS)
    client = {"client_kwargs": {**system.client_kwargs, "timeout": patience}}  # added to the user's configuration
    patient = type(system)(**(system.storage_options | client))
    return io.BufferedReader(Owned(patient.open(path, "rb")), BUFFER)
