"""The addresses of the page. Photos are asked for by the numbers of their rows; no address has a path in it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from anyio import to_thread
from msgspec import Meta as Limits
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from vggfeat._util.json_files import parse_json
from vggfeat._util.printable import reason_of
from vggfeat.decisions import MOST_CHARACTERS, Choice, Decision
from vggfeat.errors import VggfeatError
from vggfeat.explore.desk import Desk
from vggfeat.explore.gate import Gate
from vggfeat.explore.photos import GREY, jpeg
from vggfeat.explore.sheets import ACROSS, LARGE, MOST_LARGE, SMALL

PAGE = Path(__file__).parent / "page"
_LONGEST = 1280  # pixels of the longer side of a photo that is shown alone
_MOST_SHOWN = 500  # groups of twins, doubts, and confusions
_MOST_IMAGE = 2**26  # bytes of an image that is dropped on the page
_MOST_JSON = 2**22
_KEEP = {"Cache-Control": "private, max-age=3600"}

Text = Annotated[str, Limits(max_length=MOST_CHARACTERS)]


class Order(TypedDict):
    """A decision that the page sends; None takes decisions back."""

    rows: list[int]
    decision: Choice | None
    label: Text
    reason: Text


def application(desk: Desk, token: str) -> ASGIApp:
    """The page of a desk, below /TOKEN/."""
    views: dict[str, Callable[[Desk, Request], Any]] = {
        "state": state,
        "map": places,
        "classes": classes,
        "labels": labels,
        "confusions": confusions,
        "sheet/{number:int}": sheet,
        "tiles/{rows}": tiles,
        "photo/{row:int}": photo,
        "row/{row:int}": row,
        "twins": twins,
        "doubts": doubts,
        "decisions": decisions,
    }
    routes: list[Any] = [Route(f"/{path}", _answer(partial(view, desk))) for path, view in views.items()]
    routes += [
        Route("/search", _answer(partial(search, desk), _MOST_IMAGE), methods=["POST"]),
        Route("/decide", _answer(partial(decide, desk), _MOST_JSON), methods=["POST"]),
        Route("/", _page),
        Mount("/", StaticFiles(directory=PAGE)),
    ]
    return Gate(Starlette(routes=[Mount(f"/{token}", routes=routes)]), token)


async def _page(_: Request) -> Response:
    return FileResponse(PAGE / "index.html")


def _answer(view: Callable[..., Response], most: int = 0) -> Callable[[Request], Awaitable[Response]]:
    """A view that runs in a thread, and whose errors are one line. most : bytes of a body, which it is then given."""

    async def answer(request: Request) -> Response:
        body = [await _body(request, most)] if most else []
        try:
            return await to_thread.run_sync(view, request, *body)
        except VggfeatError as error:
            return PlainTextResponse(str(error), 422)
        except OSError as error:
            return PlainTextResponse(f"{error.filename or ''}: {reason_of(error)}".lstrip(": "), 422)

    return answer


async def _body(request: Request, most: int) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise HTTPException(413, f"more than {most:,} bytes")
    return bytes(data)


def _checked(desk: Desk, rows: Sequence[int]) -> Sequence[int]:
    if not all(0 <= row < len(desk.collection) for row in rows):
        raise HTTPException(404, "no such row")
    return rows


def state(desk: Desk, _: Request) -> Response:
    """What changes while the page is open, and how thumbnails come."""
    layout, collection = desk.layout, desk.collection
    return JSONResponse(
        {
            "name": desk.predictions.model if desk.predictions else collection.store.path.name,
            "rows": len(collection),
            "total": collection.total,
            "sheet": {"side": SMALL, "across": ACROSS, "count": desk.sheets.count},
            "tile": {"side": LARGE, "most": MOST_LARGE},
            "map": {"version": layout.version, "stage": layout.stage, "share": layout.share},
            "missing": dict(desk.photos.missing()),
            "decisions": str(desk.decisions_file),
        }
    )


def places(desk: Desk, _: Request) -> Response:
    """float32 (N, 2): the place of each row in the map."""
    return _array(desk.layout.places, "<f4")


def classes(desk: Desk, _: Request) -> Response:
    """int32 (N,): the class of each row."""
    return _array(desk.collection.classes_of_rows, "<i4")


def labels(desk: Desk, _: Request) -> Response:
    """The label of each class."""
    return JSONResponse(desk.classes)


def confusions(desk: Desk, _: Request) -> Response:
    """The rows that the model takes for another class, by label and class; none for a store."""
    found = desk.predictions.confusions() if desk.predictions else []
    return JSONResponse([one._asdict() for one in found[:_MOST_SHOWN]])


def _array(array: np.ndarray, dtype: str) -> Response:
    return Response(array.astype(dtype).tobytes(), media_type="application/octet-stream")


def sheet(desk: Desk, request: Request) -> Response:
    """Small thumbnails of a range of rows."""
    number = request.path_params["number"]
    if not number < desk.sheets.count:
        raise HTTPException(404, "no such sheet")
    return Response(desk.sheets.small(number), media_type="image/jpeg", headers=_KEEP)


def tiles(desk: Desk, request: Request) -> Response:
    """Large thumbnails of rows whose numbers have commas between them."""
    words = request.path_params["rows"].split(",")
    if len(words) > MOST_LARGE or not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        raise HTTPException(404, "no such rows")
    rows = _checked(desk, [int(word) for word in words])
    return Response(desk.sheets.large(rows), media_type="image/jpeg", headers=_KEEP)


def photo(desk: Desk, request: Request) -> Response:
    """One photo, decoded and encoded again."""
    (number,) = _checked(desk, [request.path_params["row"]])
    pixels = desk.photos.whole(number, _LONGEST)
    if pixels is None:
        pixels = np.full((LARGE, LARGE, 3), GREY, np.uint8)
    return Response(jpeg(pixels), media_type="image/jpeg", headers=_KEEP)


def row(desk: Desk, request: Request) -> Response:
    """What is known of a row, the objects in its photo, and its nearest neighbours."""
    (number,) = _checked(desk, [request.path_params["row"]])
    width, height = desk.collection.sizes[number].tolist()
    found = desk.about(number) | {"width": width, "height": height, "objects": desk.objects(number)}
    return JSONResponse(found | {"missing": desk.photos.reason(number), "neighbours": desk.neighbours(number)})


def search(desk: Desk, _: Request, image: bytes) -> Response:
    """The nearest neighbours of an image that is not in the collection."""
    return JSONResponse({"neighbours": desk.neighbours_of_image(image)})


def twins(desk: Desk, _: Request) -> Response:
    """Groups of near twins; null until the graph is known."""
    if (found := desk.twins()) is None:
        return JSONResponse(None)
    groups = [
        [desk.about(row) | {"cosine": cosine} for row, cosine in zip(rows, cosines, strict=True)]
        for rows, cosines in zip(found.groups[:_MOST_SHOWN], found.cosines, strict=False)
    ]
    value, reason = found.threshold
    return JSONResponse({"threshold": value, "reason": reason, "count": len(found.groups), "groups": groups})


def doubts(desk: Desk, _: Request) -> Response:
    """Photos whose labels are doubtful; null until they are known."""
    if (found := desk.doubts()) is None:
        return JSONResponse(None)
    shown = [desk.about(one.row) | {"other": one.label, "why": one.why} for one in found[:_MOST_SHOWN]]
    return JSONResponse({"count": len(found), "rows": shown, "how": desk.how})


def decisions(desk: Desk, _: Request) -> Response:
    """The decisions on the rows, by number."""
    return JSONResponse([desk.about(row) | one._asdict() for row, one in desk.decisions().items()])


def decide(desk: Desk, request: Request, body: bytes) -> Response:
    """Write a decision on rows; the answer is all decisions."""
    try:
        order: Order = parse_json(body, Order)
    except ValueError as error:
        raise HTTPException(400, reason_of(error)) from None
    rows, kind = _checked(desk, order["rows"]), order["decision"]
    if (kind == "relabel") != bool(order["label"]):
        raise HTTPException(400, "a label belongs to the decision relabel, and only to that one")
    desk.decide(rows, Decision(kind, order["label"], order["reason"]) if kind else None)
    return decisions(desk, request)
