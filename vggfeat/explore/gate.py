"""Who may ask: only a page whose address has the token, by a Host of this machine. All answers get a strict policy."""

from secrets import compare_digest

from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address has the token
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Gate:
    """Lets requests through whose path begins with the token, and whose Host is this machine.

    The Host is checked because a foreign name may be made to lead here (DNS rebinding). The token is in each address
    instead of a cookie, which a browser would send to the other ports of this machine as well.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = TrustedHostMiddleware(_with_token(app, token), [HOST, "localhost"], www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["type"] == "http":
            await self._app(scope, receive, strictly)


def _with_token(app: ASGIApp, token: str) -> ASGIApp:
    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        given = scope["path"].removeprefix("/").partition("/")[0]
        if compare_digest(given.encode(), token.encode()):
            await app(scope, receive, send)
        else:
            refusal = PlainTextResponse("Open the whole address that vggfeat explore has printed.", 403)
            await refusal(scope, receive, send)

    return gate
