"""Which path answers what: exact paths, exact methods, and an answer for everything else.

Paths are compared as they were sent. A percent-encoded or doubled slash, a dot segment or a trailing
slash is no path of ours, so nothing a proxy or a server in front might normalise differently can reach a
handler by another name.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import Request, Response

Handler = Callable[[Request, Mapping[str, str]], Awaitable[Response]]
Kind = Literal["json", "page"]

BODY_LIMIT: Final = 512 * 1024
"""The gateway's limit; the daemon holds to it too, whoever carries the request."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `pattern` is matched against the whole raw path; its named groups go to the handler."""

    pattern: re.Pattern[str]
    handlers: Mapping[str, Handler]
    kind: Kind = "json"
    body_limit: int = 16 * 1024

    @property
    def allowed(self) -> str:
        methods = set(self.handlers) | {"OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods))


class Routes:
    """The table. `answer` raises `PaymentError` `not_found`, `method_not_allowed` or `body_too_large`."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes = routes

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def find(self, path: str) -> tuple[Route, Mapping[str, str]] | None:
        for route in self._routes:
            if found := route.pattern.fullmatch(path):
                return route, found.groupdict()
        return None

    async def answer(self, request: Request) -> Response:
        found = self.find(request.path)
        if found is None:
            raise PaymentError("not_found")
        route, fields = found
        if len(request.body) > min(route.body_limit, BODY_LIMIT):
            raise PaymentError("body_too_large")
        if request.method == "OPTIONS":
            # No Access-Control header: another site's preflight fails, and with it the request.
            return Response(200, headers={"Allow": route.allowed})
        handler = route.handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise PaymentError("method_not_allowed", method=request.method, allowed=route.allowed)
        return await handler(request, fields)
