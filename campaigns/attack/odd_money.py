"""Odd objects of Stripe's, one at a time: nothing that was not paid unlocks, nothing that was paid locks,
every list can be shown, and once Stripe's objects are genuine again, so is everything here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from simulator.stripe_cloud import StripeCloud
from stripe_payments.errors import PaymentError
from tests.unit.stripe_payments.engine import (
    BUSINESS,
    MONTHLY,
    ONE_TIME,
    Engine,
    at_dashboard,
    open_engine,
    stocked_cloud,
)
from ubus_py.blobmsg import encode_table

__all__ = ["odd_money"]

DAY: Final = 86_400
PREMIUM: Final = frozenset({"updates", "backups"})
NOTHING: Final = frozenset[str]()


@dataclass(frozen=True)
class _Bought:
    """One plan by the month or one purchase for ever, and everything that Stripe has of it."""

    engine: Engine
    cloud: StripeCloud
    price: str

    def newest(self, kind: str) -> dict[str, Any]:
        return next(iter(self.cloud.account.newest_first(kind)))


Change = Callable[[_Bought], Awaitable[None] | None]


def _set(kind: str, **fields: Any) -> Change:
    """Other fields of the newest object of a kind; `None` is null."""

    def change(bought: _Bought) -> None:
        bought.newest(kind).update(fields)

    return change


def _edit(kind: str, edit: Callable[[_Bought, dict[str, Any]], object]) -> Change:
    def change(bought: _Bought) -> None:
        edit(bought, bought.newest(kind))

    return change


async def _of_another_customer(bought: _Bought) -> None:
    """The subscription names the schedule of another one."""
    other = await at_dashboard(bought.cloud, "/v1/customers", metadata={"router_id": "b" * 32})
    method = bought.cloud.change_card(other["id"], "4242424242424242")
    item = {"price": bought.newest("subscription")["items"]["data"][0]["price"]["id"]}
    theirs = await at_dashboard(
        bought.cloud,
        "/v1/subscriptions",
        customer=other["id"],
        items=[item],
        default_payment_method=method["id"],
    )
    schedule = await at_dashboard(bought.cloud, "/v1/subscription_schedules", from_subscription=theirs["id"])
    ours = bought.engine.reconciler.state.subscriptions
    bought.cloud.account.get("subscription", next(iter(ours)))["schedule"] = schedule["id"]


def _foreign_item(bought: _Bought, subscription: dict[str, Any], **price: Any) -> None:
    """A second item whose product is nothing of the catalog."""
    item = deepcopy(subscription["items"]["data"][0])
    item["id"] = "si_foreign"
    item["price"].update({"id": "price_foreign", "lookup_key": None, "product": "prod_foreign"} | price)
    subscription["items"]["data"].append(item)


def _payment_of_another_invoice(bought: _Bought, invoice: dict[str, Any]) -> None:
    """The list of its payments has one that paid for something else, and was refunded."""
    payment = deepcopy(bought.newest("invoice_payment"))
    payment.update(id="inpay_foreign", invoice="in_foreign", created=payment["created"] + 1)
    payment["payment"]["payment_intent"] = "pi_foreign"
    bought.cloud.account.add(payment)


def _dispute(status: str | None, **fields: Any) -> Change:
    def change(bought: _Bought) -> None:
        bought.cloud.dispute(bought.newest("charge")["id"])
        bought.newest("dispute").update({"status": status} | fields)

    return change


def _refund(**fields: Any) -> Change:
    async def change(bought: _Bought) -> None:
        charge = bought.newest("charge")
        await at_dashboard(bought.cloud, "/v1/refunds", charge=charge["id"], amount=100)
        bought.newest("refund").update(fields)

    return change


_CASES: Final[dict[str, tuple[str, Change, frozenset[str]]]] = {
    "dispute of an unknown status": (ONE_TIME, _dispute("under_arbitration"), PREMIUM),
    "dispute of a plan, of an unknown status": (MONTHLY, _dispute("under_arbitration"), PREMIUM),
    "dispute without a status": (ONE_TIME, _dispute(None), PREMIUM),
    "lost dispute of a negative amount": (ONE_TIME, _dispute("lost", amount=-4999), PREMIUM),
    "lost dispute of more than was paid": (ONE_TIME, _dispute("lost", amount=10**12), NOTHING),
    "lost dispute in another currency": (ONE_TIME, _dispute("lost", amount=1, currency="xxx"), NOTHING),
    "dispute prevented, without a case type": (
        ONE_TIME,
        _dispute("prevented", payment_method_details=None),
        PREMIUM,
    ),
    "refund of a negative amount": (ONE_TIME, _refund(amount=-4999), PREMIUM),
    "refund of an unknown status": (ONE_TIME, _refund(status="in_transit"), PREMIUM),
    "charge refunded by less than nothing": (ONE_TIME, _set("charge", amount_refunded=-1), PREMIUM),
    "invoice paid with less than nothing": (MONTHLY, _set("invoice", amount_paid=-499), PREMIUM),
    "invoice with negative amounts": (
        MONTHLY,
        _set("invoice", amount_due=-499, total=-499, amount_paid=0, starting_balance=-1, ending_balance=-500),
        PREMIUM,
    ),
    "invoice with the payment of another one": (
        MONTHLY,
        _edit("invoice", _payment_of_another_invoice),
        PREMIUM,
    ),
    "invoice of an unknown reason": (MONTHLY, _set("invoice", billing_reason="quote_accept"), PREMIUM),
    "invoice without lines": (
        MONTHLY,
        _edit("invoice", lambda _, invoice: invoice["lines"].update(data=[])),
        PREMIUM,
    ),
    "second item of a foreign product": (MONTHLY, _edit("subscription", _foreign_item), PREMIUM),
    "second item without a lookup key that costs less than nothing": (
        MONTHLY,
        _edit("subscription", lambda bought, sub: _foreign_item(bought, sub, unit_amount=-(10**9))),
        PREMIUM,
    ),
    "only an item of a foreign product": (
        MONTHLY,
        _edit(
            "subscription",
            lambda _, sub: sub["items"]["data"][0]["price"].update(id="price_foreign", lookup_key=None),
        ),
        PREMIUM,
    ),
    "item of quantity 0": (
        MONTHLY,
        _edit("subscription", lambda _, sub: sub["items"]["data"][0].update(quantity=0)),
        NOTHING,
    ),
    "schedule of another customer": (MONTHLY, _of_another_customer, PREMIUM),
    "schedule that does not exist": (MONTHLY, _set("subscription", schedule="sub_sched_none"), PREMIUM),
    "subscription of an unknown status": (MONTHLY, _set("subscription", status="hibernating"), NOTHING),
    "subscription in a currency without a name": (MONTHLY, _set("subscription", currency="zzz"), PREMIUM),
    "pending update to nothing": (
        MONTHLY,
        _set("subscription", pending_update={"subscription_items": [], "expires_at": 1}),
        PREMIUM,
    ),
    "paid session without a payment intent": (
        ONE_TIME,
        _set("checkout.session", payment_intent=None),
        PREMIUM,
    ),
}
"""What was bought, what is odd about it, which features are right."""

_STORED: Final[dict[str, Callable[[Engine, str], Awaitable[Any]]]] = {
    "a checkout": lambda engine, _: engine.checkout(ONE_TIME),
    "a change of plan": lambda engine, sub: engine.subscriptions.change_plan(sub, BUSINESS),
    "a cancellation": lambda engine, sub: engine.subscriptions.cancel(sub),
    "a refund": lambda engine, sub: engine.refunds.refund(_invoice_of(engine, sub)),
}


def _invoice_of(engine: Engine, subscription: str) -> str:
    return engine.reconciler.state.parsed.invoices_of[subscription][0].id


async def odd_money(cases: Cases) -> None:
    """Each odd object, and each request whose 500 Stripe keeps under its key."""
    for name in cases.some(sorted(_CASES)):
        price, change, right = _CASES[name]
        cases.note(await _odd(cases.folder, price, change, right), name)
    for name in cases.some(sorted(_STORED)):
        for when in ("before", "after"):
            cases.note(await _stored(cases.folder, _STORED[name], when), f"500 kept for {name}, {when} it")


@contextmanager
def _folder(below: Path) -> Iterator[Path]:
    with TemporaryDirectory(dir=below) as folder:
        yield Path(folder)


async def _odd(below: Path, price: str, change: Change, right: frozenset[str]) -> str | None:
    with _folder(below) as folder, listening() as complaints:
        async with stocked_cloud() as cloud, open_engine(cloud, folder) as engine:
            await engine.buy(price)
            genuine = deepcopy(cloud.account.dump()["objects"])
            made = change(_Bought(engine, cloud, price))
            if made is not None:
                await made
            await _look(engine)
            if (unlocked := await engine.unlocked()) != right:
                return f"unlocked {sorted(unlocked)}, right is {sorted(right)}"
            await _show(engine)
            for object_id, before in genuine.items():
                now = cloud.account.find(object_id)
                if now is not None:
                    now.clear()
                    now.update(before)
            for dispute in cloud.account.newest_first("dispute"):
                dispute["status"] = "won"
                cloud.account.get("charge", dispute["charge"])["disputed"] = True
            for refund in cloud.account.newest_first("refund"):
                refund["status"] = "failed"
            cloud.advance(2 * DAY)  # lost disputes are requested again once a day
            for _ in range(2):
                await _look(engine)
            if (unlocked := await engine.unlocked()) != PREMIUM:
                return f"genuine again, and unlocked is {sorted(unlocked)}"
            await _show(engine)
        return complaints.taken()


async def _look(engine: Engine) -> None:
    """All that the router has at Stripe; what is malformed is refused, and stays as it was."""
    state = engine.reconciler.state
    for object_id in [*state.parsed.sessions, *state.parsed.subscriptions, *state.parsed.charges]:
        try:
            await engine.reconciler.sync(object_id, "attack")
        except PaymentError as error:
            error.body("it")
    try:
        await engine.poller.poll_everything()
    except PaymentError as error:
        error.body("it")


async def _show(engine: Engine) -> None:
    """Everything that is shown of it; raises UbusError if the bus cannot carry it."""
    encode_table({"subscriptions": await engine.subscriptions.list("it", preview=True)})
    encode_table(await engine.history.page(100))
    for payment in list(engine.reconciler.state.payments):
        encode_table(await engine.status.show(payment))


async def _stored(below: Path, request: Callable[[Engine, str], Awaitable[Any]], when: str) -> str | None:
    """`when`: the 500 comes before or after Stripe did what was requested. Repeated, it happens once."""
    with _folder(below) as folder, listening() as complaints:
        async with stocked_cloud() as cloud, open_engine(cloud, folder) as engine:
            subscription = await engine.subscribe()
            cloud.advance(DAY)
            cloud.set_faults(method="POST", status=500, stored=True, when=when, count=1)
            for _ in range(3):
                try:
                    await request(engine, subscription)
                    break
                except PaymentError as error:
                    if error.code in ("not_changeable", "nothing_to_refund"):
                        break  # it was done, and that is known
            else:
                return "still fails the third time"
            charges = [one["amount"] for one in cloud.account.newest_first("charge") if one["paid"]]
            refunded = sum(one["amount"] for one in cloud.account.newest_first("refund"))
            if len(charges) > 2 or refunded > 499:
                return f"charged {charges}, refunded {refunded}"
        return complaints.taken()
