"""The endpoints that are called most, past the framework's routing: it costs more than they do."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["BareRoutes"]


class BareRoutes:
    """`routes`: their endpoints are ASGI applications, and their paths have no parameters. The application
    has the same routes, for every other method.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[tuple[str, str], Route]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        await route.app(scope, receive, send)
