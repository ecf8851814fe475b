"""The daemon's two bus objects by script: for states of the pages that a real daemon is hard to bring into.

The purchases themselves are tested against the real daemon (``test_purchase.py``).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ubus_py import STRING, Call, Client, Method, Object, Status, StatusError

FEATURES = {
    "email_support": "Email support",
    "security_updates": "Security updates",
    "priority_support": "Priority support",
    "remote_backup": "Daily remote backups",
}


def _price(alias: str, amount: int, interval: str | None) -> dict[str, Any]:
    return {
        "id": alias,
        "price_id": f"price_{alias}",
        "amount": amount,
        "currency": "eur",
        "interval": interval,
        "owned": False,
    }


def _catalogue() -> dict[str, Any]:
    premium = list(FEATURES)
    return {
        "plans": [
            {
                "id": "base",
                "title": "Base",
                "description": "The essentials.",
                "features": premium[:2],
                "prices": [_price("base_monthly", 199, "month"), _price("base_yearly", 1999, "year")],
            },
            {
                "id": "premium",
                "title": "Premium",
                "description": "For those who depend on it.",
                "features": premium,
                "prices": [_price("premium_monthly", 499, "month"), _price("premium_yearly", 4999, "year")],
            },
        ],
        "products": [
            {
                "id": "router_os_premium",
                "title": "Router OS Premium",
                "description": "Everything in Premium, for ever.",
                "features": premium,
                "prices": [_price("premium_onetime", 4999, None)],
            }
        ],
        "features": {name: {"title": title, "description": f"{title}."} for name, title in FEATURES.items()},
    }


@dataclass
class ScriptedPayments:
    """What the objects answer; tests set it and look at what was called."""

    mode: str = "test"
    stripe: str = "ok"
    checkout_url: str = ""
    catalogue: dict[str, Any] = field(default_factory=_catalogue)
    unlocked: set[str] = field(default_factory=set)
    payment: dict[str, Any] = field(default_factory=lambda: {"status": "unpaid"})
    refuse_checkout: tuple[Status, dict[str, str]] | None = None
    checkout_gate: asyncio.Event | None = None
    checkouts: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def own(self, item: str) -> None:
        """Let everything of a catalogue item be bought and unlocked."""
        for entry in self.catalogue["plans"] + self.catalogue["products"]:
            if entry["id"] == item:
                entry["prices"][0]["owned"] = True
                self.unlocked.update(entry["features"])

    async def publish(self, bus: Client) -> None:
        """Put both objects on the bus."""
        await bus.publish(
            Object(
                "stripe-payments",
                [
                    Method("status", self._status, {}),
                    Method("catalog", self._catalog, {"locale": STRING}),
                    Method("features", self._features, {}),
                    Method("sync", self._sync, {}),
                    Method("payment_status", self._payment_status, {"payment_id": STRING}),
                    Method(
                        "create_checkout_session",
                        self._create,
                        {"price_id": STRING, "success_url": STRING, "cancel_url": STRING, "locale": STRING},
                    ),
                ],
            )
        )
        await bus.publish(Object("stripe-payments.http", [Method("request", self._request, {})]))

    async def _status(self, call: Call) -> Mapping[str, Any]:
        del call
        return {"version": "test", "mode": self.mode, "stripe": self.stripe}

    async def _catalog(self, call: Call) -> Mapping[str, Any]:
        del call
        return self.catalogue

    async def _features(self, call: Call) -> Mapping[str, Any]:
        del call
        return {"features": {name: {"unlocked": name in self.unlocked} for name in FEATURES}}

    async def _sync(self, call: Call) -> Mapping[str, Any]:
        del call
        return {}

    async def _payment_status(self, call: Call) -> Mapping[str, Any]:
        del call
        return self.payment

    async def _create(self, call: Call) -> Mapping[str, Any]:
        self.checkouts.append(dict(call.args))
        if self.checkout_gate is not None:
            await self.checkout_gate.wait()
        if self.refuse_checkout is not None:
            status, error = self.refuse_checkout
            raise StatusError(status, {"error": dict(error)})
        session = f"cs_test_{len(self.checkouts)}"
        return {"session_id": session, "checkout_url": f"{self.checkout_url}?session={session}"}

    async def _request(self, call: Call) -> Mapping[str, Any]:
        request = {name: value for name, value in call.args.items() if name != "ubus_rpc_session"}
        self.requests.append(request)
        return {
            "status": 200,
            "reason": "OK",
            "headers": {"content-type": "application/json"},
            "body": json.dumps(request),
        }
