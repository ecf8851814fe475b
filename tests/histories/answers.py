"""The part of the daemon's Stripe client that its own work needs, answered by a `Life` without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.stripe_cloud.api_errors import StripeApiError
from simulator.stripe_cloud.rendering import render
from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.stripe_api import Page
from stripe_payments.stripe_api.resources import RESOURCES, object_kind
from tests.histories.life import ROUTER, Life

Json = dict[str, Any]


class Stripe:
    """As `StripeAPI`. While `held` is not None, an answer puts an event there and waits for it: what arrives
    late is as old as it is.
    """

    def __init__(self, life: Life, clock: TrustedClock) -> None:
        self._life = life
        self._clock = clock
        self.held: list[asyncio.Event] | None = None

    async def _sent(self, answer: Any) -> Any:
        now = self._life.now
        if self.held is not None:
            arrives = asyncio.Event()
            self.held.append(arrives)
            await arrives.wait()
        self._clock.observe(now)
        return answer

    async def time_passes(self) -> None:
        """The router hears the time from Stripe, and nothing else."""
        await self._sent(None)

    async def retrieve(self, object_id: str) -> Json | None:
        kind, found = object_kind(object_id), self._life.account.find(object_id)
        if kind is None or found is None:
            return await self._sent(None)  # type: ignore[no-any-return]
        return await self._sent(render(self._life.account, found, RESOURCES[kind].expand))  # type: ignore[no-any-return]

    async def list(self, kind: str, params: Mapping[str, Any]) -> Page:
        wanted = {"expand": [f"data.{path}" for path in RESOURCES[kind].expand], **params}
        page = await self._sent(self._life.get(RESOURCES[kind].path, **wanted))
        return Page(page["data"], page["has_more"])

    async def get(self, kind: str, object_id: str, expand: Sequence[str] | None = None) -> Json:
        wanted = RESOURCES[kind].expand if expand is None else expand
        return await self._request("get", f"{RESOURCES[kind].path}/{object_id}", {}, wanted)

    async def create(self, kind: str, params: Mapping[str, Any], _key: str) -> Json:
        return await self._request("post", RESOURCES[kind].path, params, RESOURCES[kind].expand)

    async def update(
        self, kind: str, object_id: str, params: Mapping[str, Any], _key: str, action: str = ""
    ) -> Json:
        path = f"{RESOURCES[kind].path}/{object_id}"
        return await self._request("post", f"{path}/{action}" if action else path, params)

    async def delete(self, kind: str, object_id: str) -> None:
        await self._request("delete", f"{RESOURCES[kind].path}/{object_id}", {})

    async def preview_invoice(self, params: Mapping[str, Any], _key: str) -> Json:
        return await self._request("post", "/v1/invoices/create_preview", params)

    async def _request(
        self, method: str, path: str, params: Mapping[str, Any], expand: Iterable[str] = ()
    ) -> Json:
        given = {name: value for name, value in params.items() if name != "expand"}
        try:
            found = self._life.request(method.upper(), path, given)
        except StripeApiError as error:
            raise PaymentError(
                "stripe_error",
                http_status=error.status,
                stripe_code=error.code,
                decline_code=error.decline_code,
                message=error.message,
            ) from error
        answer: Json = await self._sent(render(self._life.account, found, params.get("expand", expand)))
        return answer

    async def find_customer(self, router_id: str) -> Json | None:
        return await self._sent({"id": self._life.customer} if router_id == ROUTER else None)  # type: ignore[no-any-return]
