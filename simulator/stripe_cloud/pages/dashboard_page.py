"""/: the simulator's console: what was sold and delivered, and everything that can happen, as buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ..api_errors import Json
from . import situations
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
        account, now = self._cloud.account, self._cloud.clock.now()
        faults = self._cloud.faults.describe()
        shown = {
            kind: list(account.newest_first(kind))[:SHOWN]
            for kind in ("checkout.session", "charge", "refund", "subscription")
        }
        actions = {
            **{row["id"]: situations.of_session(row) for row in shown["checkout.session"]},
            **{row["id"]: situations.of_charge(account, row) for row in shown["charge"]},
            **{row["id"]: situations.of_refund(row) for row in shown["refund"]},
            **{row["id"]: situations.of_subscription(row, now) for row in shown["subscription"]},
        }
        return page(
            "dashboard.html",
            locale=language(request, request.query.get("lang")),
            now=now,
            offset=round(self._cloud.clock.offset),
            clock=situations.CLOCK,
            webhooks=situations.of_webhooks(faults["webhooks"]),
            api=situations.of_api(faults["rules"]),
            keys=situations.of_keys(self._cloud.api.keys.all_revoked),
            settings=situations.of_settings(account.settings),
            actions=actions,
            names={row["id"]: self._plan(row) for row in shown["subscription"]},
            disputed={row["charge"]: row["status"] for row in [*account.newest_first("dispute")][::-1]},
            sessions=shown["checkout.session"],
            charges=shown["charge"],
            refunds=shown["refund"],
            subscriptions=shown["subscription"],
            deliveries=[
                (row, situations.of_delivery(row)) for row in self._cloud.deliveries()[: -SHOWN - 1 : -1]
            ],
            requests=self._cloud.requests(limit=SHOWN)[::-1],
            endpoints=list(account.newest_first("webhook_endpoint")),
        )

    def _plan(self, sub: Json) -> str:
        product = self._cloud.account.find(sub["items"]["data"][0]["price"]["product"]) or {}
        return str(product.get("name", sub["id"]))
