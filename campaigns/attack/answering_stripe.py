"""A Stripe whose answers are changed on their way: a proxy in front of the simulator, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

from campaigns.attack.json_mutations import Path, placed

__all__ = ["AnsweringStripe", "Change"]


@dataclass(frozen=True)
class Change:
    """What happens to the answer of the `request`th request (counted from 0): values put at places of its
    JSON; or another body, status or header altogether.
    """

    request: int
    places: Sequence[tuple[Path, Any]] = ()
    body: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Any) -> Change | None:
        """From the JSON of an input; None for what is none."""
        if not isinstance(given, dict) or not isinstance(given.get("request"), int):
            return None
        places = [
            (tuple(place[0]), place[1])
            for place in given.get("places", ())
            if isinstance(place, list) and len(place) == 2 and isinstance(place[0], list)
        ]
        body, status, headers = given.get("body"), given.get("status"), given.get("headers")
        return cls(
            given["request"],
            [place for place in places if all(isinstance(step, str | int) for step in place[0])],
            body if isinstance(body, str) else None,
            status if isinstance(status, int) and 200 <= status <= 599 else None,
            {
                name: value
                for name, value in (headers if isinstance(headers, dict) else {}).items()
                if isinstance(value, str) and value.isprintable() and value.isascii()
            },
        )


class AnsweringStripe:
    """`upstream` is the simulator. `answers` are those given since `begin`, as they came from there;
    `asked` is all that was ever asked, but for the header that has the key.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._changes: dict[int, Change] = {}
        self._number = 0
        self.answers: list[Any] = []
        self.asked: list[bytes] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(auto_decompress=False)
        application = web.Application()
        application.router.add_route("*", "/v1/{rest:.*}", self._pass_on)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    def begin(self, changes: Sequence[Change] = ()) -> None:
        """Answer these from now on; resets the request count."""
        self._changes = {change.request: change for change in changes}
        self._number = 0
        self.answers = []

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        number, self._number = self._number, self._number + 1
        sent = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "content-length")
        }
        given = await request.read()
        reported = {name: value for name, value in sent.items() if name.lower() != "authorization"}
        self.asked.append(f"{request.method} {request.raw_path} {reported} ".encode() + given)
        url = self._upstream + request.raw_path
        try:
            async with self._http.request(request.method, url, headers=sent, data=given) as answer:
                body, status = await answer.read(), answer.status
                headers = {
                    name: value
                    for name, value in answer.headers.items()
                    if name.lower() not in ("content-length", "server", "content-encoding")
                }
        except aiohttp.ClientError:  # a connection that Stripe cut
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        tree = json.loads(body)
        self.answers.append(tree)
        change = self._changes.get(number)
        if change is not None:
            for path, value in change.places:
                tree = placed(tree, path, value)
            text = json.dumps(tree) if change.body is None else change.body
            body = text.encode("utf-8", "surrogateescape" if change.body is not None else "strict")
            status = change.status or status
            headers.update(change.headers)
        return web.Response(status=status, body=body, headers=headers)
