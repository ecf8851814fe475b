"""One customer's life at the simulated Stripe: what the buyer, the bank, the operator and the calendar do.

No HTTP and no clock but its own: the same commands happen at the same seconds, with the same ids, each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from simulator.stripe_cloud import StripeCloud
from simulator.stripe_cloud.api_errors import StripeApiError
from simulator.stripe_cloud.clock import StandingClock
from simulator.stripe_cloud.routes import find_route
from stripe_payments.i18n import Title
from stripe_payments.settings import Feature, Plan, Price, Product, Settings
from tests.histories.reference import Decision, Options, decide, plans_of, purchases_of

DAY: Final = 86_400
START: Final = 1_760_000_000
ROUTER: Final = "a" * 32
FEATURES: Final = ("a", "b", "c")

_NO: Final = Title("", "")

Json = dict[str, Any]
Command = tuple[str, int, int]
"""(verb, which object of several, how)."""


@dataclass(frozen=True)
class Sold:
    """A price of the catalog: `amount` in euro cents, `interval` None for a single payment."""

    alias: str
    of: str
    amount: int
    interval: Literal["month", "year"] | None
    features: tuple[str, ...]


CATALOG: Final = (
    Sold("small_m", "small", 499, "month", ("a",)),
    Sold("small_y", "small", 4999, "year", ("a",)),
    Sold("large_m", "large", 1499, "month", ("a", "b")),
    Sold("extra_m", "extra", 299, "month", ("c",)),
    Sold("once_1", "once", 4999, None, ("b",)),
)
PLAN_PRICES: Final = ("small_m", "large_m", "small_y")

GOOD: Final = "4242424242424242"
RENEWALS_FAIL: Final = "4000000000000341"
NO_FUNDS: Final = "4000000000009995"
DEBIT, BAD_DEBIT = "bank_debit", "bank_debit_fails"


class Life:
    """`apply(command)` does what a command says, or nothing where that makes no sense now. `seen` collects
    the ids of the objects that events are about, in their order; the reader empties it. `charged`:
    the amounts taken so far, oldest first.
    """

    def __init__(self, seed: int, options: Options | None = None) -> None:
        self.options = Options() if options is None else options
        self.cloud = StripeCloud(seed=seed, clock=StandingClock(START))
        self.account = self.cloud.account
        self.seen: list[str] = []
        self.account.on_event.append(self._tell)
        self.prices: dict[str, Json] = {}
        for sold in CATALOG:
            product = self.post("/v1/products", name=sold.of)
            recurring = {"recurring": {"interval": sold.interval, "interval_count": 1}}
            self.prices[sold.alias] = self.post(
                "/v1/prices",
                product=product["id"],
                unit_amount=sold.amount,
                currency="eur",
                lookup_key=sold.alias,
                **(recurring if sold.interval else {}),
            )
        self.unlocks = {self.prices[sold.alias]["id"]: sold.features for sold in CATALOG}
        self.half = self.post("/v1/coupons", percent_off=50, duration="forever")
        self.free_once = self.post("/v1/coupons", percent_off=100, duration="once")
        self.free = self.post("/v1/coupons", percent_off=100, duration="forever")
        self.less = self.post(
            "/v1/coupons", amount_off=200, currency="eur", duration="repeating", duration_in_months=3
        )
        self.customer = self.post("/v1/customers", metadata={"router_id": ROUTER})["id"]
        self.seen.clear()

    @property
    def now(self) -> int:
        return self.account.now()

    def settings(self) -> Settings:
        """The daemon's settings for the same catalog."""
        plans = [sold for sold in CATALOG if sold.interval]
        products = [sold for sold in CATALOG if not sold.interval]
        prices = {
            sold.alias: Price(
                sold.alias, sold.of, self.prices[sold.alias]["id"], sold.amount, "eur", sold.interval
            )
            for sold in CATALOG
        }
        return Settings(
            plans={sold.of: Plan(sold.of, _NO, _NO, sold.features) for sold in plans},
            products={sold.of: Product(sold.of, _NO, _NO, sold.features) for sold in products},
            prices=prices,
            features={name: Feature(name, _NO, _NO) for name in FEATURES},
            grace_days=self.options.grace_days,
            lock_paused=self.options.lock_paused,
            trust_pending_debits=self.options.trust_pending_debits,
        )

    def expected(self) -> dict[str, Decision]:
        """What docs/states.md says of every feature now."""
        plans = plans_of(self.account, self.unlocks, self.options)
        purchases = purchases_of(self.account, self.unlocks)
        return decide(plans, purchases, FEATURES, self.now, self.options)

    def charged(self) -> list[int]:
        return [one["amount"] for one in self.rows("charge") if one["paid"]]

    def rows(self, kind: str) -> list[Json]:
        """The objects of a kind, oldest first."""
        return list(self.account.newest_first(kind))[::-1]

    def get(self, path: str, **params: Any) -> Json:
        return self.request("GET", path, params)

    def post(self, path: str, **params: Any) -> Json:
        return self.request("POST", path, params)

    def delete(self, path: str) -> Json:
        return self.request("DELETE", path, {})

    def request(self, method: str, path: str, params: Json) -> Json:
        found = find_route(method, path)
        assert found is not None, path
        route, ids = found
        return route.handler(self.account, params, *ids)

    def _tell(self, event: Json) -> None:
        self.seen.append(event["data"]["object"].get("id", ""))

    def apply(self, command: Command) -> bool:
        """Whether anything happened. A minute passes first: no two commands share a second."""
        verb, which, how = command
        self.cloud.advance(61)
        if verb == "wait":
            self.cloud.advance(WAITS[how % len(WAITS)] * DAY)
            return True
        before = len(self.seen)
        try:
            COMMANDS[verb](self, which, how)
        except StripeApiError as error:
            if error.status >= 500:
                raise
        return len(self.seen) > before

    # -- whom it is about --------------------------------------------------------------------------

    def running(self, *statuses: str) -> list[Json]:
        wanted = statuses or ("active", "trialing", "past_due", "unpaid", "paused")
        return [sub for sub in self.rows("subscription") if sub["status"] in wanted]

    def pick(self, rows: list[Json], which: int) -> Json | None:
        return rows[which % len(rows)] if rows else None

    def checkout(self, alias: str, mode: str, **params: Any) -> Json:
        """A session as the daemon opens it."""
        metadata = {"router_id": ROUTER, "price_alias": alias, "item": alias.split("_")[0]}
        inner = "subscription_data" if mode == "subscription" else "payment_intent_data"
        return self.post(
            "/v1/checkout/sessions",
            mode=mode,
            customer=self.customer,
            client_reference_id=ROUTER,
            line_items=[{"price": self.prices[alias]["id"], "quantity": 1}],
            success_url="http://192.168.1.1/ok",
            metadata=metadata,
            **{**params, inner: {"metadata": metadata, **params.get(inner, {})}},
        )

    def pay(self, session: Json, card: str) -> None:
        """As the buyer on Stripe's page, whatever comes of it."""
        self.cloud.pay(session["id"], card=card)

    def pay_a_part(self, invoice: Json, amount: int) -> None:
        """With a good card, as an operator does by attaching a payment of its own."""
        method = self.cloud.change_card(self.customer, GOOD)
        intent = self.post(
            "/v1/payment_intents",
            amount=amount,
            currency="eur",
            customer=self.customer,
            payment_method=method["id"],
            confirm=True,
            off_session=True,
        )
        self.post(f"/v1/invoices/{invoice['id']}/attach_payment", payment_intent=intent["id"])

    def report_payment(self, invoice: Json, amount: int) -> None:
        """A bank transfer past Stripe, of which its owner makes a record."""
        record = self.post(
            "/v1/payment_records/report_payment",
            amount_requested={"value": amount, "currency": "eur"},
            initiated_at=self.now,
            outcome="guaranteed",
            guaranteed={"guaranteed_at": self.now},
            payment_method_details={"type": "custom", "custom": {"display_name": "Bank transfer"}},
        )
        self.post(f"/v1/invoices/{invoice['id']}/attach_payment", payment_record=record["id"])


WAITS: Final = (1, 2, 4, 6, 9, 15, 24, 31, 45, 3, 8, 70)
CHECKOUT_CARDS: Final = (GOOD, GOOD, DEBIT, BAD_DEBIT, NO_FUNDS)


# -- the buyer -------------------------------------------------------------------------------------


def _buy(life: Life, _: int, how: int) -> None:
    if len([one for one in life.rows("checkout.session") if one["mode"] == "payment"]) >= 4:
        return
    coupon = {3: life.free, 7: life.half}.get(how % 10)
    params = {"discounts": [{"coupon": coupon["id"]}]} if coupon else {}
    session = life.checkout("once_1", "payment", **params)
    life.pay(session, CHECKOUT_CARDS[how % len(CHECKOUT_CARDS)])


def _subscribe(life: Life, which: int, how: int) -> None:
    if len(life.running()) >= 3:
        return
    coupon = {1: life.half, 4: life.free_once, 6: life.free, 8: life.less}.get(how)
    params: Json = {"discounts": [{"coupon": coupon["id"]}]} if coupon else {}
    if how in (3, 9):
        params["subscription_data"] = {"trial_period_days": 14}
    card = {2: DEBIT, 5: BAD_DEBIT, 9: RENEWALS_FAIL, 10: RENEWALS_FAIL, 11: NO_FUNDS}.get(how, GOOD)
    session = life.checkout(PLAN_PRICES[which % 3], "subscription", **params)
    life.pay(session, card)


def _card(life: Life, _: int, how: int) -> None:
    cards = (GOOD, RENEWALS_FAIL, GOOD, DEBIT, BAD_DEBIT, NO_FUNDS)
    life.cloud.change_card(life.customer, cards[how % len(cards)])


def _cancel(life: Life, which: int, how: int) -> None:
    sub = life.pick(life.running(), which)
    if sub is None:
        return
    path, end = f"/v1/subscriptions/{sub['id']}", sub["items"]["data"][0]["current_period_end"]
    if how % 5 == 0:
        life.delete(path)
    elif how % 5 == 1:
        life.post(path, cancel_at_period_end=True)
    elif how % 5 == 2:  # as the portal does under flexible billing
        life.post(path, cancel_at="min_period_end")
    else:
        life.post(path, cancel_at=(life.now + 5 * DAY, end + 40 * DAY)[how % 2])


def _keep(life: Life, which: int, _: int) -> None:
    sub = life.pick([one for one in life.running() if one["cancel_at"]], which)
    if sub is not None:
        life.post(f"/v1/subscriptions/{sub['id']}", cancel_at="")


def _change(life: Life, which: int, how: int) -> None:
    sub = life.pick(life.running("active", "trialing"), which)
    if sub is None or len(sub["items"]["data"]) > 1:
        return
    behaviour: Json = {"proration_behavior": ("always_invoice", "create_prorations", "none")[how // 3 % 3]}
    if behaviour["proration_behavior"] == "always_invoice":
        behaviour["payment_behavior"] = ("pending_if_incomplete", "allow_incomplete")[which % 2]
    item = {"id": sub["items"]["data"][0]["id"], "price": life.prices[PLAN_PRICES[how % 3]]["id"]}
    life.post(f"/v1/subscriptions/{sub['id']}", items=[item], **behaviour)


def _upgrade(life: Life, which: int, how: int) -> None:
    """To a larger plan, paid by a bank debit, which arrives days later or never, or by a card that is
    declined: then the change waits for its payment.
    """
    small = [one for one in life.running("active") if len(one["items"]["data"]) == 1]
    sub = life.pick([one for one in small if one["items"]["data"][0]["price"]["unit_amount"] == 499], which)
    if sub is None:
        return
    card = (DEBIT, BAD_DEBIT, RENEWALS_FAIL)[how % 3]
    life.cloud.change_card(life.customer, card)
    behaviour = {"payment_behavior": "pending_if_incomplete"} if card == RENEWALS_FAIL else {}
    item = {
        "id": sub["items"]["data"][0]["id"],
        "price": life.prices[("large_m", "small_y")[which % 2]]["id"],
    }
    life.post(
        f"/v1/subscriptions/{sub['id']}", items=[item], proration_behavior="always_invoice", **behaviour
    )


def _pay_up(life: Life, which: int, how: int) -> None:
    """Or have it paid, forgiven, written off: what can become of an open invoice."""
    invoice = life.pick([one for one in life.rows("invoice") if one["status"] == "open"], which)
    if invoice is None:
        return
    path = f"/v1/invoices/{invoice['id']}"
    match how % 6:
        case 0 | 1:
            life.cloud.change_card(life.customer, GOOD)
            life.post(f"{path}/pay")
        case 2:
            life.post(f"{path}/pay", paid_out_of_band=True)
        case 3:
            life.post(f"{path}/void")
        case 4:
            life.post(f"{path}/mark_uncollectible")
        case 5:
            pay = (life.pay_a_part, life.report_payment)[which % 2]
            pay(invoice, min(200, invoice["amount_remaining"]))


# -- the bank --------------------------------------------------------------------------------------


def _paid_charges(life: Life) -> list[Json]:
    return [one for one in life.rows("charge") if one["paid"]][-6:]


def _refund(life: Life, which: int, how: int) -> None:
    charge = life.pick([one for one in _paid_charges(life) if not one["refunded"]], which)
    if charge is not None:
        amount = {} if how % 2 else {"amount": min(100, charge["amount"] - charge["amount_refunded"])}
        life.post("/v1/refunds", charge=charge["id"], **amount)


def _refund_fails(life: Life, which: int, how: int) -> None:
    made = [one for one in life.rows("refund") if one["status"] in ("pending", "succeeded")]
    if (refund := life.pick(made[-4:], which)) is not None:
        life.cloud.fail_refund(refund["id"], charge_follows=bool(how % 2))


def _dispute(life: Life, which: int, how: int) -> None:
    """Opened (about a part or all of it), then won or lost; what was lost is appealed, and won late."""
    charges = [one for one in _paid_charges(life) if not one["amount_refunded"]]
    charge = life.pick(charges, which)
    if charge is None:
        return
    status = {one["charge"]: one["status"] for one in life.rows("dispute")}.get(charge["id"])
    if status is None and how % 6 == 5:
        life.cloud.dispute(charge["id"], "prevented", case_type=("block", "resolution")[which % 2])
    elif status is None:
        life.cloud.dispute(charge["id"], amount=min(100, charge["amount"]) if how % 3 == 1 else None)
    elif status == "needs_response":
        life.cloud.dispute(charge["id"], ("won", "lost", "lost")[how % 3])
    elif status == "lost":
        life.cloud.dispute(charge["id"], "appeal_under_review")
    elif status == "appeal_under_review":
        life.cloud.dispute(charge["id"], ("won", "lost")[how % 2])


# -- the operator ----------------------------------------------------------------------------------


def _send_invoice(life: Life, which: int, how: int) -> None:
    """A subscription made in the Dashboard, collected by invoices that are sent by e-mail."""
    if len(life.running()) >= 3:
        return
    alias = PLAN_PRICES[which % 2]
    life.post(
        "/v1/subscriptions",
        customer=life.customer,
        items=[{"price": life.prices[alias]["id"]}],
        collection_method="send_invoice",
        days_until_due=(0, 7, 30)[how % 3],
        metadata={"router_id": ROUTER, "price_alias": alias, "item": alias.split("_")[0]},
    )


def _second_item(life: Life, which: int, how: int) -> None:
    sub = life.pick(life.running("active", "past_due"), which)
    if sub is None or sub["items"]["data"][0]["price"]["recurring"]["interval"] != "month":
        return
    items = sub["items"]["data"]
    behaviour = {"proration_behavior": ("always_invoice", "create_prorations", "none")[how % 3]}
    if len(items) == 1:
        life.post(
            f"/v1/subscriptions/{sub['id']}", items=[{"price": life.prices["extra_m"]["id"]}], **behaviour
        )
    else:
        life.post(
            f"/v1/subscriptions/{sub['id']}",
            items=[{"id": items[how % 2]["id"], "deleted": True}],
            **behaviour,
        )


def _quantity(life: Life, which: int, how: int) -> None:
    if (sub := life.pick(life.running("active", "past_due"), which)) is not None:
        item = {"id": sub["items"]["data"][0]["id"], "quantity": (1, 2, 3, 0)[how % 4]}
        life.post(f"/v1/subscriptions/{sub['id']}", items=[item], proration_behavior="always_invoice")


def _coupon(life: Life, which: int, how: int) -> None:
    if (sub := life.pick(life.running("active", "trialing"), which)) is not None:
        coupon = (life.half, life.free, life.free_once, life.less, None)[how % 5]
        given = [{"coupon": coupon["id"]}] if coupon else ""
        life.post(f"/v1/subscriptions/{sub['id']}", discounts=given)


def _credit(life: Life, _: int, how: int) -> None:
    """Given or taken back: the customer's balance, negative is credit."""
    balance = life.account.get("customer", life.customer)["balance"]
    life.post(f"/v1/customers/{life.customer}", balance=(-700, balance - 201, 0, -1499)[how % 4])


def _credit_note(life: Life, which: int, how: int) -> None:
    """A part of an invoice or all that is left of it: forgiven before it is paid; what was paid already goes
    back as money, as credit, or by other means.
    """
    issued = [one for one in life.rows("invoice")[-6:] if one["status"] in ("open", "paid") and one["parent"]]
    invoice = life.pick(issued, which)
    if invoice is None:
        return
    noted = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    amount = invoice["total"] - noted
    if how % 2:
        amount = min(amount, 200)
    back = amount - min(amount, invoice["amount_remaining"])
    part = ("refund_amount", "credit_amount", "out_of_band_amount")[how % 3]
    life.post("/v1/credit_notes", invoice=invoice["id"], amount=amount, **({part: back} if back else {}))


def _pause(life: Life, which: int, how: int) -> None:
    sub = life.pick(life.running("active", "trialing", "past_due", "paused"), which)
    if sub is None:
        return
    path = f"/v1/subscriptions/{sub['id']}"
    if sub["status"] == "paused":
        how_to = ({}, {"payment_behavior": "resume_on_payment_success"})[how % 2]
        life.post(f"{path}/resume", **how_to)
    elif how % 3 == 0:
        life.post(f"{path}/pause")
    elif sub["pause_collection"]:
        life.post(path, pause_collection="")
    else:
        behaviour: Json = {"behavior": ("void", "keep_as_draft", "mark_uncollectible")[which % 3]}
        until = {"resumes_at": life.now + 40 * DAY} if how % 3 == 1 else {}
        life.post(path, pause_collection=behaviour | until)


def _schedule(life: Life, which: int, how: int) -> None:
    """The operator plans another plan for the next period, or takes that back."""
    sub = life.pick(life.running("active", "trialing", "past_due"), which)
    if sub is None:
        return
    if sub["schedule"] is not None:
        life.post(f"/v1/subscription_schedules/{sub['schedule']}/release")
        return
    schedule = life.post("/v1/subscription_schedules", from_subscription=sub["id"])
    price = sub["items"]["data"][0]["price"]
    if len(sub["items"]["data"]) > 1 or price["recurring"]["interval"] != "month":
        return
    phase = schedule["phases"][0]
    later = {
        "items": [{"price": life.prices[("small_m", "large_m")[how % 2]]["id"]}],
        "end_date": phase["end_date"] + 40 * DAY,
    }
    life.post(f"/v1/subscription_schedules/{schedule['id']}", phases=[phase, later])


def _dunning(life: Life, _: int, how: int) -> None:
    ends = ("canceled", "unpaid", "past_due", "paused")
    life.account.settings["dunning_ends_with"] = ends[how % len(ends)]


COMMANDS: Final[dict[str, Callable[[Life, int, int], None]]] = {
    "buy": _buy,
    "subscribe": _subscribe,
    "card": _card,
    "cancel": _cancel,
    "keep": _keep,
    "change": _change,
    "upgrade": _upgrade,
    "pay up": _pay_up,
    "refund": _refund,
    "refund fails": _refund_fails,
    "dispute": _dispute,
    "send invoice": _send_invoice,
    "second item": _second_item,
    "quantity": _quantity,
    "coupon": _coupon,
    "credit": _credit,
    "credit note": _credit_note,
    "pause": _pause,
    "schedule": _schedule,
    "dunning": _dunning,
}
VERBS: Final = (*COMMANDS, "subscribe", "dispute", "change", "pay up", "wait", "wait", "wait", "wait")
