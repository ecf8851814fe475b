"""The daemon's two bus objects by script: for states of the pages that a real daemon is hard to bring into.

The purchases themselves are tested against the real daemon (``test_purchase.py``).
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ubus_py import BOOLEAN, INT32, STRING, ArgType, Call, Client, Method, Object, Status, StatusError

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


def _shop_catalog() -> dict[str, Any]:
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
    catalog: dict[str, Any] = field(default_factory=_shop_catalog)
    unlocked: set[str] = field(default_factory=set)
    payment: dict[str, Any] = field(default_factory=lambda: {"status": "unpaid"})
    refuse_checkout: tuple[Status, dict[str, str]] | None = None
    checkout_gate: asyncio.Event | None = None
    refuse: dict[str, tuple[Status, dict[str, str]]] = field(default_factory=dict)
    """Method -> the error that it answers with."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """Method -> what has to happen before it answers."""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Every call of a method that changes or asks Stripe for something, without LuCI's own arguments."""
    status_extra: dict[str, Any] = field(default_factory=dict)
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Feature -> what is known beside ``unlocked``."""
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    transactions: list[dict[str, Any]] = field(default_factory=list)
    purchases: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    preview: dict[str, Any] = field(default_factory=lambda: {"amount_due": 321, "currency": "eur"})
    next_payment: dict[str, Any] | None = None
    """What Stripe previews, where the expected payment is another one."""
    trial: dict[str, Any] = field(default_factory=dict)
    """What trying a key results in, where it is not an accepted one that locks nothing."""
    provisioned: bool = False
    changed: dict[str, Any] | None = None
    """What a change of plan makes of the subscription, if not just that."""
    checkouts: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def own(self, item: str) -> None:
        """Let everything of a catalog item be bought and unlocked."""
        for entry in self.catalog["plans"] + self.catalog["products"]:
            if entry["id"] == item:
                entry["prices"][0]["owned"] = True
                self.unlocked.update(entry["features"])

    def subscribe(self, plan: str = "base", **changes: Any) -> dict[str, Any]:
        """Let a plan be subscribed to by the month, up to a date to come."""
        self.own(plan)
        subscription = {
            "id": "sub_1",
            "plan": plan,
            "title": plan.title(),
            "status": "active",
            "price": f"{plan}_monthly",
            "amount": 199,
            "currency": "eur",
            "interval": "month",
            "ends_at": None,
            "paused": False,
            "pending_change": None,
            "current_period_end": "2031-05-17T12:00:00Z",
            "cancel_at": None,
            "cancel_at_period_end": False,
            "trial_end": None,
            "grace_until": None,
            **changes,
        }
        self.subscriptions.append(subscription)
        for name in self.unlocked:
            self.features[name] = {
                "source": "sub_1",
                "plan": plan,
                "reason": "active",
                "until": subscription["current_period_end"],
            }
        return subscription

    def furnish(self) -> None:
        """A router that has been in use for a year: a plan, payments of every kind, things to attend to."""
        self.subscribe("base")
        self.checks = [
            {"id": "key", "ok": True, "severity": "ok", "detail": "The key works.", "hint": ""},
            {
                "id": "webhook_endpoint",
                "ok": True,
                "severity": "info",
                "detail": "No webhook.",
                "hint": "Set it up.",
            },
            {
                "id": "prices",
                "ok": False,
                "severity": "error",
                "detail": "A price is missing.",
                "hint": "Create it.",
            },
            {
                "id": "clock",
                "ok": False,
                "severity": "warning",
                "detail": "The clock is late: 2031-04-30T10:00:00Z.",
                "hint": "Use NTP.",
            },
        ]
        self.status_extra = {
            "keys": {"secret_key": "sk_test_…p7dc", "publishable_key": None, "webhook_secret": None},
            "webhook": "unconfigured",
            "last_sync": "2031-04-30T10:00:00Z",
        }
        self.transactions = [self._transaction(i) for i in range(46)]

    def _transaction(self, i: int) -> dict[str, Any]:
        kind, status = [
            ("invoice", "paid"),
            ("payment", "paid"),
            ("invoice", "unpaid"),
            ("payment", "refunded"),
        ][i % 4]
        if i % 9 == 4:
            kind, status = "refund", "succeeded"
        return {
            "id": f"pi_{i}",
            "date": (datetime.now(UTC) - timedelta(days=9 * i)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "kind": kind,
            "amount": -499 if kind == "refund" else 499 + i * 10,
            "currency": "jpy" if i % 10 == 7 else "eur",
            "status": status,
            "description": "Premium",
            "receipt_url": "https://pay.stripe.com/receipts/1" if i % 2 else None,
            "invoice_pdf": "https://pay.stripe.com/invoice/1/pdf" if kind == "invoice" else None,
        }

    def use_hub(self, **seller: Any) -> None:
        """Hub mode: a seller has the keys, the prices and the payments."""
        known = {
            "url": "https://hub.example.org",
            "name": "Example Networks",
            "enrolled": True,
            "last_contact": "2031-04-30T10:00:00Z",
            "problem": None,
        }
        self.status_extra["seller"] = known | seller

    def called(self, method: str) -> list[dict[str, Any]]:
        """The arguments of every call of a method so far."""
        return [arguments for name, arguments in self.calls if name == method]

    async def publish(self, bus: Client) -> None:
        """Put both objects on the bus."""
        subscription = {"subscription": STRING}
        methods: list[tuple[str, Any, dict[str, ArgType]]] = [
            ("status", self._status, {}),
            ("catalog", self._catalog, {}),
            ("features", self._features, {}),
            ("subscriptions", self._subscriptions, {"preview": BOOLEAN}),
            ("transactions", self._transactions, {"limit": INT32, "before": STRING}),
            ("payment_status", self._payment_status, {"payment_id": STRING}),
            (
                "create_checkout_session",
                self._create,
                {"price_id": STRING, "success_url": STRING, "cancel_url": STRING},
            ),
            ("check", self._check, {}),
            ("sync", self._nothing, {}),
            ("recovery_code", self._recovery_code, {}),
            ("recover", self._nothing, {"code": STRING}),
            ("preview_change", self._preview, {**subscription, "price_id": STRING}),
            ("change_plan", self._change, {**subscription, "price_id": STRING}),
            ("cancel_subscription", self._cancel, {**subscription, "at_period_end": BOOLEAN}),
            ("resume_subscription", self._resume, subscription),
            ("portal", self._portal, {"return_url": STRING}),
            ("grant", self._grant, {"feature": STRING, "until": STRING, "note": STRING}),
            ("revoke", self._revoke, {"feature": STRING}),
            ("refund", self._refund, {"payment_id": STRING, "amount": INT32, "reason": STRING}),
            ("provision", self._provision, {"dry_run": BOOLEAN, "replace": BOOLEAN}),
            ("setup_webhook", self._webhook, {"url": STRING}),
            (
                "set_keys",
                self._set_keys,
                {
                    **dict.fromkeys(("secret_key", "webhook_secret", "publishable_key"), STRING),
                    "dry_run": BOOLEAN,
                },
            ),
        ]
        await bus.publish(
            Object(
                "stripe-payments",
                [
                    Method(name, self._scripted(name, answer), {**args, "locale": STRING})
                    for name, answer, args in methods
                ],
            )
        )
        await bus.publish(Object("stripe-payments.http", [Method("request", self._request, {})]))

    def _scripted(self, method: str, answer: Any) -> Any:
        async def handle(call: Call) -> Mapping[str, Any]:
            args = {
                name: value for name, value in call.args.items() if name not in ("ubus_rpc_session", "locale")
            }
            self.calls.append((method, args))
            if method in self.gates:
                await self.gates[method].wait()
            if method in self.refuse:
                status, error = self.refuse[method]
                raise StatusError(status, {"error": dict(error)})
            answered: Mapping[str, Any] = await answer(call)
            return answered

        return handle

    async def _status(self, call: Call) -> Mapping[str, Any]:
        del call
        shown = [self.catalog, sorted(self.unlocked), self.features, self.subscriptions, self.transactions]
        return {
            "version": "test",
            "mode": self.mode,
            "stripe": self.stripe,
            "purchases": self.purchases,
            "revision": hashlib.sha256(json.dumps(shown).encode()).hexdigest(),
            **self.status_extra,
        }

    async def _catalog(self, call: Call) -> Mapping[str, Any]:
        del call
        return self.catalog

    async def _features(self, call: Call) -> Mapping[str, Any]:
        del call
        return {
            "features": {
                name: {"unlocked": name in self.unlocked, **self.features.get(name, {})} for name in FEATURES
            }
        }

    async def _subscriptions(self, call: Call) -> Mapping[str, Any]:
        if not call.args.get("preview"):
            return {"subscriptions": self.subscriptions}
        previews = {"next_payment": self.next_payment}
        return {"subscriptions": [subscription | previews for subscription in self.subscriptions]}

    async def _transactions(self, call: Call) -> Mapping[str, Any]:
        limit, before = int(str(call.args.get("limit", 20))), str(call.args.get("before", "0"))
        end = int(before) + limit
        return {
            "transactions": self.transactions[int(before) : end],
            "next": str(end) if end < len(self.transactions) else None,
        }

    async def _check(self, call: Call) -> Mapping[str, Any]:
        del call
        return {"checks": self.checks}

    async def _nothing(self, call: Call) -> Mapping[str, Any]:
        del call
        return {}

    async def _recovery_code(self, call: Call) -> Mapping[str, Any]:
        del call
        return {"code": "ABCDE-FGHJK-MNPQR-STVWX"}

    async def _preview(self, call: Call) -> Mapping[str, Any]:
        del call
        return self.preview

    async def _change(self, call: Call) -> Mapping[str, Any]:
        if self.changed is not None:
            self.subscriptions = [self.changed]
            return self.changed
        plan = str(call.args["price_id"]).partition("_")[0]
        self.subscriptions[0].update(price=call.args["price_id"], plan=plan, title=plan.title())
        return self.subscriptions[0]

    async def _cancel(self, call: Call) -> Mapping[str, Any]:
        if call.args.get("at_period_end"):
            self.subscriptions[0]["cancel_at_period_end"] = True
            self.subscriptions[0]["ends_at"] = self.subscriptions[0]["current_period_end"]
        else:
            self.subscriptions[0]["status"] = "canceled"
        return self.subscriptions[0]

    async def _resume(self, call: Call) -> Mapping[str, Any]:
        del call
        self.subscriptions[0].update(cancel_at_period_end=False, ends_at=None, paused=False)
        return self.subscriptions[0]

    async def _portal(self, call: Call) -> Mapping[str, Any]:
        return {"url": str(call.args["return_url"])}

    async def _grant(self, call: Call) -> Mapping[str, Any]:
        name = str(call.args["feature"])
        self.unlocked.add(name)
        self.features[name] = {"source": "manual", "reason": "granted", "until": call.args.get("until")}
        return {"feature": name}

    async def _revoke(self, call: Call) -> Mapping[str, Any]:
        name = str(call.args["feature"])
        self.unlocked.discard(name)
        self.features.pop(name)
        return {"feature": name, "revoked": True}

    async def _refund(self, call: Call) -> Mapping[str, Any]:
        row = next(row for row in self.transactions if row["id"] == call.args["payment_id"])
        row["status"] = "partially_refunded" if "amount" in call.args else "refunded"
        return {"id": "re_1", "status": "succeeded"}

    async def _provision(self, call: Call) -> Mapping[str, Any]:
        dry = bool(call.args.get("dry_run"))
        there = self.provisioned
        self.provisioned = self.provisioned or not dry
        line = {"state": "found" if there else "missing", "action": "" if there else "create"}
        price = {
            "title": "Premium",
            "product": "premium",
            "amount": 499,
            "currency": "eur",
            "interval": "month",
            "detail": "",
            "hint": "",
            "differences": [],
        }
        return {
            "dry_run": dry,
            "products": [{"id": "premium", "title": "Premium", "product_id": None, **line}],
            "prices": [
                {"id": "premium_monthly", **price, **line},
                {
                    "id": "premium_yearly",
                    **price,
                    "state": "different",
                    "action": "replace" if call.args.get("replace") else "",
                    "detail": "amount: 49.99 EUR configured, 59.99 EUR in Stripe",
                    "hint": "Correct the price.",
                },
                {
                    "id": "premium_onetime",
                    **price,
                    "title": "Router OS Premium",
                    "interval": None,
                    "state": "found",
                    "action": "",
                },
            ],
        }

    async def _webhook(self, call: Call) -> Mapping[str, Any]:
        self.status_extra |= {
            "webhook": "configured",
            "webhook_url": call.args["url"],
            "webhook_last_delivery": "2031-04-30T10:00:00Z",
        }
        return {
            "id": "we_1",
            "url": call.args["url"],
            "action": "created",
            "detail": "Endpoint created.",
        }

    async def _set_keys(self, call: Call) -> Mapping[str, Any]:
        if call.args.get("dry_run"):
            return {"mode": "test", "accepted": True, "other_account": False, "locks": [], **self.trial}
        known = self.status_extra.setdefault("keys", {})
        for name in ("secret_key", "webhook_secret", "publishable_key"):
            if name in call.args:
                given = str(call.args[name])
                known[name] = f"{given[:8]}…{given[-4:]}" if given else None
        self.mode = "test" if known.get("secret_key") else "unconfigured"
        return {"mode": self.mode}

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
