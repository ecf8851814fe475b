"""/: the simulator's start page: what was sold, what was delivered, the clock and the faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from .templating import language, page

if TYPE_CHECKING:
    from ..cloud import StripeCloud

SHOWN = 12


class DashboardPage:
    def __init__(self, cloud: StripeCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        account = self._cloud.account
        return page(
            "dashboard.html",
            locale=language(request, request.query.get("lang")),
            now=self._cloud.clock.now(),
            offset=round(self._cloud.clock.offset),
            faults=self._cloud.faults.describe(),
            sessions=list(account.newest_first("checkout.session"))[:SHOWN],
            charges=list(account.newest_first("charge"))[:SHOWN],
            refunds=list(account.newest_first("refund"))[:SHOWN],
            subscriptions=list(account.newest_first("subscription"))[:SHOWN],
            deliveries=self._cloud.deliveries()[: -SHOWN - 1 : -1],
            requests=self._cloud.requests(limit=SHOWN)[::-1],
            endpoints=list(account.newest_first("webhook_endpoint")),
        )
