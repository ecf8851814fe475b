"""A router with a past, and everything that it asks Stripe."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from simulator.stripe_cloud import StripeCloud
from stripe_payments.diagnostics import Diagnostics
from stripe_payments.diagnostics.probes import Situation
from stripe_payments.errors import PaymentError
from stripe_payments.keys import KeyStore
from stripe_payments.setup import Provisioner, WebhookSetup, store_in_uci
from tests.unit.stripe_payments.engine import BUSINESS, KEY, MONTHLY, ONE_TIME, YEARLY, Engine
from ubus_py import Client

__all__ = ["CALLS", "Past", "paid_for", "unlocked_by"]

OTHER_ROUTER: Final = "f" * 32


class Past:
    """An engine that sold something of each kind, none of which unlocks anything any more, and one plan that
    runs.

    `ids` names what there is at Stripe: open, refunded, expired, foreign (sessions), subscription, ended, …
    """

    def __init__(self, engine: Engine, cloud: StripeCloud, folder: Path) -> None:
        self.engine = engine
        self.cloud = cloud
        self.ids: dict[str, str] = {}
        self._folder = folder
        self._keys = KeyStore(folder / "keys", {"STRIPE_SECRET_KEY": KEY})
        self._bus = Client(str(folder / "no-bus"))
        self.provisioner = Provisioner(
            engine.stripe,
            lambda: engine.settings,
            partial(store_in_uci, self._bus),
            lambda: "test",
            _nothing_to_read,
        )
        self._own_keys = KeyStore(folder / "own-keys", {})
        self.webhook_setup = WebhookSetup(engine.stripe, self._own_keys, engine.identity, engine.ledger)

    async def live_it(self) -> None:
        engine, ids, account = self.engine, self.ids, self.cloud.account
        self._own_keys.store(secret_key=KEY)
        ids["refunded"] = await engine.buy(ONE_TIME)
        await engine.refunds.refund(ids["refunded"])
        ids["expired"] = await engine.checkout(BUSINESS)
        await engine.stripe.update("checkout.session", ids["expired"], {}, "expire", action="expire")
        await engine.reconciler.sync(ids["expired"])
        ids["ended"] = await engine.subscribe(BUSINESS)
        await engine.subscriptions.cancel(ids["ended"], at_period_end=False)
        ids["subscription"] = await engine.subscribe(MONTHLY)
        ids["open"] = await engine.checkout(ONE_TIME)
        self.cloud.pay(ids["open"], card="4000000000000002")
        session = account.get("checkout.session", ids["refunded"])
        ids["intent"] = session["payment_intent"]
        ids["charge"] = account.get("payment_intent", ids["intent"])["latest_charge"]
        ids["invoice"] = account.get("subscription", ids["subscription"])["latest_invoice"]
        ids["foreign"] = self._sold_by_another()
        ids["foreign plan"] = self._subscribed_by_another()
        await engine.poller.poll_everything()

    def _sold_by_another(self) -> str:
        """A purchase of another router on the same account, paid: its id must be of no use here."""
        account = self.cloud.account
        session: dict[str, Any] = account.get("checkout.session", self.ids["refunded"])
        foreign = json.loads(json.dumps(account.get("checkout.session", session["id"])))
        customer = json.loads(json.dumps(account.get("customer", session["customer"])))
        customer.update(id="cus_ofAnother", metadata={"router_id": OTHER_ROUTER})
        intent = json.loads(json.dumps(account.get("payment_intent", session["payment_intent"])))
        charge = json.loads(json.dumps(account.get("charge", intent["latest_charge"])))
        marks = {"router_id": OTHER_ROUTER, "price_alias": ONE_TIME, "item": "router_os_premium"}
        charge.update(id="ch_ofAnother", payment_intent="pi_ofAnother", customer=customer["id"])
        charge.update(amount_refunded=0, refunded=False, metadata=marks)
        intent.update(id="pi_ofAnother", latest_charge=charge["id"], customer=customer["id"], metadata=marks)
        foreign.update(id="cs_test_ofAnother", customer=customer["id"], metadata=marks)
        foreign.update(client_reference_id=OTHER_ROUTER, payment_intent=intent["id"])
        for made in (customer, charge, intent):
            account.add(made)
        account.add(foreign, **account.behind(session["id"]))
        return str(foreign["id"])

    def _subscribed_by_another(self) -> str:
        """A plan that runs and unlocks more than this router has."""
        account = self.cloud.account
        held = json.loads(json.dumps(account.get("subscription", self.ids["ended"])))
        marks = {"router_id": OTHER_ROUTER, "price_alias": BUSINESS, "item": "business"}
        held.update(
            id="sub_ofAnother", customer="cus_ofAnother", metadata=marks, status="active", ended_at=None
        )
        held.update(canceled_at=None, cancel_at_period_end=False, latest_invoice=None)
        account.add(held, **account.behind(self.ids["ended"]))
        return str(held["id"])

    async def check(self) -> object:
        engine = self.engine
        situation = Situation(
            settings=engine.settings,
            keys=self._keys,
            identity=engine.identity,
            state_dir=engine.state,
            bus=self._bus,
            api_base=engine.cloud.url,
            ledger=engine.ledger,
            clock=engine.clock,
            last_sync=engine.reconciler.last_sync,
        )
        return {"checks": await Diagnostics(lambda: situation).run("it")}

    async def find_customer_again(self) -> object:
        known = self.engine.identity.load().customer
        try:
            self.engine.identity.set_customer(None)
            return {"id": await self.engine.customers.ensure()}
        except PaymentError:
            self.engine.identity.set_customer(known)
            raise

    async def by_event(self, name: str) -> object:
        event = f"evt_{len(self.cloud.requests())}_{name}"
        await self.engine.ledger.write(
            lambda tx: tx.inbox.accept(event, "charge.refunded", self.ids[name], 0)
        )
        await self.engine.inbox.work()
        await self.engine.ledger.write(lambda tx: tx.inbox.finish(event, "over"))
        return None

    async def few_rounds(self) -> object:
        self.engine.poller.account_changed()
        with contextlib.suppress(PaymentError):
            await self.engine.poller.poll_everything()
        await self.engine.poller.poll_everything()
        return None


async def unlocked_by(engine: Engine) -> set[tuple[str, str]]:
    """Each feature that is unlocked, with what unlocks it."""
    held = await engine.ledger.read(lambda tx: tx.features.all())
    return {(name, one.source) for name, one in held.items() if one.unlocked}


def paid_for(cloud: StripeCloud, router_id: str, engine: Engine) -> set[tuple[str, str]]:
    """The features that this router has paid for, with what it paid for them, read off the account itself
    and not off any answer.
    """
    account, settings = cloud.account, engine.settings
    found: set[tuple[str, str]] = set()
    for session in account.newest_first("checkout.session"):
        if session["metadata"].get("router_id") != router_id or session["mode"] != "payment":
            continue
        if session["payment_status"] != "paid" or session["status"] != "complete":
            continue
        intent = account.get("payment_intent", session["payment_intent"])
        if not account.get("charge", intent["latest_charge"])["refunded"]:
            price = settings.price(session["metadata"]["price_alias"])
            found.update((name, session["id"]) for name in (settings.features_of(price) if price else ()))
    for subscription in account.newest_first("subscription"):
        if subscription["metadata"].get("router_id") != router_id:
            continue
        if subscription["status"] in ("active", "trialing", "past_due"):
            item = account.get("price", subscription["items"]["data"][0]["price"]["id"])
            price = settings.price(item["lookup_key"])
            found.update(
                (name, subscription["id"]) for name in (settings.features_of(price) if price else ())
            )
    return found


def _sync(name: str) -> Callable[[Past], Awaitable[object]]:
    async def call(past: Past) -> object:
        outcome = await past.engine.reconciler.sync(past.ids[name], "attack")
        return {"changed": list(outcome.changed), "status": outcome.status}

    return call


def _status(name: str) -> Callable[[Past], Awaitable[object]]:
    return lambda past: past.engine.status.show(past.ids[name], "it")


CALLS: Final[dict[str, Callable[[Past], Awaitable[object]]]] = {
    **{f"sync {name}": _sync(name) for name in ("open", "refunded", "subscription", "invoice", "charge")},
    **{f"sync {name}": _sync(name) for name in ("ended", "expired", "foreign", "foreign plan", "intent")},
    **{f"status {name}": _status(name) for name in ("open", "refunded", "subscription", "invoice", "intent")},
    "event": lambda past: past.by_event("charge"),
    "look": lambda past: past.engine.poller.poll_everything(),
    "new keys": lambda past: past.few_rounds(),
    "customer": lambda past: past.find_customer_again(),
    "prices": lambda past: _looked_up(past),
    "buy": lambda past: past.engine.checkouts.create(
        BUSINESS, success_url="http://192.168.1.1/payment-success"
    ),
    "refund": lambda past: past.engine.refunds.refund(past.ids["invoice"], 1),
    "refund again": lambda past: past.engine.refunds.refund(past.ids["refunded"], 1),
    "preview": lambda past: past.engine.subscriptions.preview_change(past.ids["subscription"], YEARLY),
    "change": lambda past: _there_and_back(past),
    "cancel": lambda past: past.engine.subscriptions.cancel(past.ids["subscription"]),
    "resume": lambda past: past.engine.subscriptions.resume(past.ids["subscription"]),
    "portal": lambda past: past.engine.portal.open("http://192.168.1.1/", "it"),
    "provision": lambda past: past.provisioner.provision(dry_run=True, locale="it"),
    "provision replace": lambda past: past.provisioner.provision(replace=True),
    "webhook": lambda past: past.webhook_setup.set_up("http://127.0.0.1:9/x", replace=True),
    "check": lambda past: past.check(),
}
"""Everything that calls Stripe, by name. Each returns what the caller would get, or raises."""


async def _looked_up(past: Past) -> object:
    past.engine.prices.invalidate()
    price = past.engine.settings.price(ONE_TIME)
    assert price is not None
    return {"id": await past.engine.prices.id_of(price)}


async def _there_and_back(past: Past) -> object:
    service, held = past.engine.subscriptions, past.ids["subscription"]
    row = past.engine.reconciler.state.subscriptions.get(held)
    other = MONTHLY if row is not None and row.price_alias == YEARLY else YEARLY
    return await service.change_plan(held, other, "it")


async def _nothing_to_read() -> None:
    """The engine's settings are in memory."""
