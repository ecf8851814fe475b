"""What may happen to one customer at Stripe, as a model: commands change it, and it answers as Stripe's API
does.

The model knows the truth in its own words (what is paid, what went back), apart from the JSON it is told in,
so that what the router makes of the JSON can be held against it. `Stripe` is the part of `StripeAPI` that
reconciliation uses; its answers are those of the moment at which the request was sent, however late they
arrive.
"""

from __future__ import annotations

import asyncio
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from stripe_payments.clock import TrustedClock
from stripe_payments.stripe_api import Page, object_kind

DAY = 86_400
START = 1_760_000_000
ROUTER, CUSTOMER = "router1", "cus_1"
MONTH = 30 * DAY
PLANS = {
    "small": ("price_small", 499, ("a",)),
    "large": ("price_large", 1499, ("a", "b")),
}
PRODUCT = ("price_once", 4999, ("a", "b"))

Json = dict[str, Any]


@dataclass
class Refund:
    number: int
    amount: int
    status: str = "succeeded"  # failed


@dataclass
class Payment:
    """A charge, of a session or of an invoice."""

    number: int
    amount: int
    created: int
    state: str = "succeeded"  # succeeded, processing, failed
    refunds: list[Refund] = field(default_factory=list)
    failed_but_counted: int = 0
    """What the charge still counts as refunded of the refunds that failed."""
    dispute: str | None = None  # needs_response, won, lost, appeal_under_review
    disputed: int = 0

    @property
    def intent(self) -> str:
        return f"pi_{self.number}"

    @property
    def charge(self) -> str:
        return f"ch_{self.number}"

    @property
    def refunded(self) -> int:
        return sum(refund.amount for refund in self.refunds if refund.status == "succeeded")

    @property
    def returned(self) -> int:
        lost = self.disputed if self.dispute in ("lost", "appeal_under_review") else 0
        return min(self.amount, self.refunded + lost)

    @property
    def gone(self) -> bool:
        """Whether nothing of it is left with the seller."""
        return self.returned >= self.amount > 0


@dataclass
class Purchase:
    number: int
    created: int
    payment: Payment | None  # None: a total of nothing

    @property
    def id(self) -> str:
        return f"cs_{self.number}"

    @property
    def stands(self) -> bool:
        if self.payment is None:
            return True
        return self.payment.state == "succeeded" and not self.payment.gone


@dataclass
class Invoice:
    number: int
    subscription: str
    created: int
    amount: int
    status: str
    payments: list[Payment]
    """The attempts too; several that succeeded have each paid a part."""

    @property
    def id(self) -> str:
        return f"in_{self.number}"

    @property
    def paid_by(self) -> list[Payment]:
        return [payment for payment in self.payments if payment.state == "succeeded"]


@dataclass
class Plan:
    """A subscription."""

    number: int
    plan: str
    status: str
    start: int
    end: int
    trial_end: int | None = None
    cancel_at: int | None = None
    at_period_end: bool = False
    paused_collection: bool = False
    gave_up: bool = False
    """Paused because its payment could not be collected."""
    invoices: list[Invoice] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"sub_{self.number}"

    @property
    def runs(self) -> bool:
        return self.status in ("active", "trialing", "past_due", "unpaid", "paused")

    @property
    def money_gone(self) -> bool:
        """Whether everything that was paid for this period went back."""
        current = [one for one in self.invoices if one.status == "paid" and one.created >= self.start]
        paid = [payment for invoice in current for payment in invoice.paid_by]
        return bool(paid) and all(payment.gone for payment in paid)

    def owed_since(self) -> int | None:
        """The first of the unpaid invoices since the last paid one."""
        since = None
        for invoice in reversed(self.invoices):
            if invoice.status == "open":
                since = invoice.created
            elif invoice.paid_by:
                break
        return since


class Model:
    """`apply(command)` carries a command out and gives the ids of the objects that Stripe sends events
    about; a command that makes no sense now does nothing.
    """

    def __init__(self, grace_days: int) -> None:
        self.now = START
        self.purchases: list[Purchase] = []
        self.plans: list[Plan] = []
        self.sessions: dict[str, Plan] = {}
        """The Checkout sessions that began a plan."""
        self._grace = grace_days * DAY
        self._count = 0

    # -- the truth ---------------------------------------------------------------------------------

    def paid_for(self) -> set[str]:
        """The features that must be unlocked."""
        features: set[str] = set()
        for purchase in self.purchases:
            if purchase.stands:
                features.update(PRODUCT[2])
        for plan in self.plans:
            if plan.money_gone:
                continue
            since = plan.owed_since()
            in_grace = (
                (plan.status == "past_due" or plan.gave_up)
                and since is not None
                and self.now < since + self._grace
            )
            if plan.status in ("active", "trialing") or in_grace:
                features.update(PLANS[plan.plan][2])
        return features

    # -- commands ----------------------------------------------------------------------------------

    def apply(self, command: tuple[str, int, int]) -> list[str]:
        self.now += 60
        verb, which, how = command
        done: list[str] = getattr(self, f"_{verb}")(which, how)
        return done

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _pay(self, amount: int, state: str = "succeeded") -> Payment:
        return Payment(self._next(), amount, self.now, state)

    def _pick(self, plans: list[Plan], which: int) -> Plan | None:
        return plans[which % len(plans)] if plans else None

    def _running(self, which: int, *statuses: str) -> Plan | None:
        wanted = [plan for plan in self.plans if plan.runs and (not statuses or plan.status in statuses)]
        return self._pick(wanted, which)

    def _buy(self, _: int, how: int) -> list[str]:
        if len(self.purchases) >= 4:
            return []
        payment = (
            None if how % 4 == 3 else self._pay(PRODUCT[1], "processing" if how % 4 == 2 else "succeeded")
        )
        purchase = Purchase(self._next(), self.now, payment)
        self.purchases.append(purchase)
        return [purchase.id, *([payment.intent] if payment else [])]

    def _settle_debit(self, _: int, how: int) -> list[str]:
        for purchase in self.purchases:
            if purchase.payment and purchase.payment.state == "processing":
                purchase.payment.state = "failed" if how % 2 else "succeeded"
                return [purchase.id, purchase.payment.intent]
        return []

    def _payments(self) -> list[Payment]:
        found = [purchase.payment for purchase in self.purchases]
        found += [payment for plan in self.plans for one in plan.invoices for payment in one.payments]
        return [payment for payment in found if payment is not None and payment.state == "succeeded"]

    def _refund(self, which: int, how: int) -> list[str]:
        open_ones = [p for p in self._payments() if p.refunded < p.amount and p.dispute is None]
        if not open_ones:
            return []
        payment = open_ones[which % len(open_ones)]
        left = payment.amount - payment.refunded
        payment.refunds.append(Refund(self._next(), left if how % 2 else min(100, left)))
        payment.failed_but_counted = 0
        return [payment.charge, f"re_{payment.refunds[-1].number}"]

    def _refund_fails(self, which: int, how: int) -> list[str]:
        """The buyer's bank sends the newest refund back; whether the charge still counts it is not known."""
        made = [p for p in self._payments() if p.refunds and p.refunds[-1].status == "succeeded"]
        if not made:
            return []
        payment = made[which % len(made)]
        payment.refunds[-1].status = "failed"
        payment.failed_but_counted = payment.refunds[-1].amount if how % 2 else 0
        return [payment.charge, f"re_{payment.refunds[-1].number}"]

    def _dispute(self, which: int, how: int) -> list[str]:
        """Opened (about a part or all of it), then won or lost; what was lost is appealed, and won late."""
        wanted = [p for p in self._payments() if not p.refunds and p.dispute != "won"]
        if not wanted:
            return []
        payment = wanted[which % len(wanted)]
        if payment.dispute is None:
            payment.disputed = 100 if how % 3 == 1 else payment.amount
            payment.dispute = "needs_response"
        elif payment.dispute == "needs_response":
            payment.dispute = ("won", "lost")[how % 2]
        else:
            payment.dispute = "won" if payment.dispute == "appeal_under_review" else "appeal_under_review"
        return [f"du_{payment.number}"]

    def _subscribe(self, which: int, how: int) -> list[str]:
        if len(self.plans) >= 3:
            return []
        trial = how % 3 == 0
        name = list(PLANS)[which % len(PLANS)]
        plan = Plan(
            self._next(),
            name,
            "trialing" if trial else "active",
            self.now,
            self.now + (14 * DAY if trial else MONTH),
        )
        plan.trial_end = plan.end if trial else None
        self.plans.append(plan)
        invoice = self._bill(plan, 0 if trial else PLANS[name][1], paid=True)
        session = f"cs_{self._next()}"
        self.sessions[session] = plan
        return [session, plan.id, *self._told_of(invoice)]

    def _bill(self, plan: Plan, amount: int, *, paid: bool) -> Invoice:
        payment = self._pay(amount, "succeeded" if paid else "failed") if amount else None
        status = "paid" if paid or not amount else "open"
        invoice = Invoice(self._next(), plan.id, self.now, amount, status, [payment] if payment else [])
        plan.invoices.append(invoice)
        return invoice

    @staticmethod
    def _told_of(invoice: Invoice) -> list[str]:
        return [invoice.id, *(payment.intent for payment in invoice.payments)]

    def _renew(self, which: int, how: int) -> list[str]:
        plan = self._running(which, "active", "trialing", "past_due")
        if plan is None:
            return []
        others = [one.end for one in self.plans if one is not plan and one.runs]
        if any(end < plan.end for end in others):
            return []  # theirs comes first
        self.now = max(self.now, plan.end)
        if plan.cancel_at is not None and plan.cancel_at <= self.now:
            plan.status = "canceled"
            return [plan.id]
        plan.start, plan.end = plan.end, plan.end + MONTH
        invoice = self._bill(plan, PLANS[plan.plan][1], paid=how % 3 != 0)
        plan.status = "active" if invoice.status == "paid" else "past_due"
        return [plan.id, *self._told_of(invoice)]

    def _pay_up(self, which: int, how: int) -> list[str]:
        plan = self._running(which, "past_due", "unpaid", "paused")
        if plan is None or (plan.status == "paused" and not plan.gave_up):
            return []
        plan.gave_up = False
        told = [plan.id]
        for invoice in plan.invoices:
            if invoice.status == "open":
                invoice.status = "paid"
                parts = [200, invoice.amount - 200] if how % 2 else [invoice.amount]
                invoice.payments += [self._pay(part) for part in parts]
                told += self._told_of(invoice)
        plan.status = "active"
        return told

    def _give_up(self, which: int, how: int) -> list[str]:
        plan = self._running(which, "past_due")
        if plan is None:
            return []
        plan.status = ("canceled", "unpaid", "paused")[how % 3]
        plan.gave_up = plan.status == "paused"
        return [plan.id]

    def _cancel(self, which: int, how: int) -> list[str]:
        plan = self._running(which)
        if plan is None:
            return []
        if how % 3 == 0:
            plan.status = "canceled"
        elif plan.status in ("active", "trialing"):
            plan.cancel_at, plan.at_period_end = (
                plan.end,
                how % 3 == 1,
            )  # flexible billing sets cancel_at alone
        return [plan.id]

    def _keep(self, which: int, _: int) -> list[str]:
        plan = self._running(which)
        if plan is None:
            return []
        plan.cancel_at, plan.at_period_end = None, False
        return [plan.id]

    def _pause(self, which: int, how: int) -> list[str]:
        plan = self._running(which, "active", "paused")
        if plan is None or plan.gave_up:
            return []
        if how % 2 and plan.status == "active":
            plan.paused_collection = not plan.paused_collection
        else:
            plan.status = "active" if plan.status == "paused" else "paused"
        return [plan.id]

    def _change(self, which: int, how: int) -> list[str]:
        plan = self._running(which, "active")
        if plan is None or plan.cancel_at is not None:
            return []
        plan.plan = list(PLANS)[how % len(PLANS)]
        invoice = self._bill(plan, 250, paid=True)
        return [plan.id, *self._told_of(invoice)]

    def _wait(self, _: int, how: int) -> list[str]:
        """Time alone, within every period: what happens at its end is a command of its own."""
        ends = [plan.end for plan in self.plans if plan.runs]
        self.now = min([self.now + (how % 12) * DAY, *(end - 3600 for end in ends)])
        self.now = max(self.now, START)
        return []

    # -- as Stripe tells it ------------------------------------------------------------------------

    def objects(self) -> dict[str, Json]:
        """Every object by id, expanded as asked for."""
        found: dict[str, Json] = {}
        for purchase in self.purchases:
            found[purchase.id] = self._session(purchase)
            if purchase.payment is not None:
                self._add_payment(found, purchase.payment)
        for plan in self.plans:
            found[plan.id] = self._subscription(plan)
            for invoice in plan.invoices:
                found[invoice.id] = self._invoice(invoice)
                for payment in invoice.payments:
                    self._add_payment(found, payment)
        for session_id, plan in self.sessions.items():
            found[session_id] = self._subscription_session(session_id, plan)
        return deepcopy(found)

    def invoice_of(self, intent: str) -> str | None:
        for plan in self.plans:
            for invoice in plan.invoices:
                if intent in [payment.intent for payment in invoice.payments]:
                    return invoice.id
        return None

    def _add_payment(self, found: dict[str, Json], payment: Payment) -> None:
        found[payment.intent] = self._intent(payment)
        found[payment.charge] = self._charge(payment)
        for refund in payment.refunds:
            found[f"re_{refund.number}"] = self._refund_json(payment, refund)
        if payment.dispute:
            found[f"du_{payment.number}"] = self._dispute_json(payment)

    def _marks(self, alias: str, item: str) -> Json:
        return {"router_id": ROUTER, "price_alias": alias, "item": item}

    def _session(self, purchase: Purchase) -> Json:
        payment = purchase.payment
        state = (
            "no_payment_required" if payment is None else "paid" if payment.state == "succeeded" else "unpaid"
        )
        return {
            "id": purchase.id,
            "object": "checkout.session",
            "created": purchase.created,
            "mode": "payment",
            "status": "complete",
            "payment_status": state,
            "amount_total": payment.amount if payment else 0,
            "currency": "eur" if payment else None,
            "customer": CUSTOMER,
            "client_reference_id": ROUTER,
            "metadata": self._marks("once_1", "once"),
            "line_items": {"data": [{"price": {"id": PRODUCT[0]}}]},
            "payment_intent": self._intent(payment) if payment else None,
            "subscription": None,
            "invoice": None,
        }

    def _subscription_session(self, session_id: str, plan: Plan) -> Json:
        return {
            "id": session_id,
            "object": "checkout.session",
            "created": plan.invoices[0].created,
            "mode": "subscription",
            "status": "complete",
            "payment_status": "paid",
            "amount_total": plan.invoices[0].amount,
            "currency": "eur",
            "customer": CUSTOMER,
            "client_reference_id": ROUTER,
            "metadata": self._marks(f"{plan.plan}_m", plan.plan),
            "line_items": {"data": [{"price": {"id": PLANS[plan.plan][0]}}]},
            "payment_intent": None,
            "subscription": self._subscription(plan),
            "invoice": self._invoice(plan.invoices[0]),
        }

    def _intent(self, payment: Payment) -> Json:
        return {
            "id": payment.intent,
            "object": "payment_intent",
            "created": payment.created,
            "status": {"failed": "requires_payment_method"}.get(payment.state, payment.state),
            "amount": payment.amount,
            "currency": "eur",
            "customer": CUSTOMER,
            "metadata": {},
            "last_payment_error": {"code": "card_declined"} if payment.state == "failed" else None,
            "latest_charge": self._charge(payment),
        }

    def _charge(self, payment: Payment) -> Json:
        return {
            "id": payment.charge,
            "object": "charge",
            "created": payment.created,
            "payment_intent": payment.intent,
            "customer": CUSTOMER,
            "amount": payment.amount,
            "amount_captured": payment.amount if payment.state == "succeeded" else 0,
            "amount_refunded": payment.refunded + payment.failed_but_counted,
            "currency": "eur",
            "paid": payment.state == "succeeded",
            "refunded": payment.refunded + payment.failed_but_counted >= payment.amount,
            "disputed": payment.dispute is not None,
            "metadata": {},
            "refunds": {"data": [self._refund_json(payment, refund) for refund in payment.refunds][::-1]},
        }

    def _refund_json(self, payment: Payment, refund: Refund) -> Json:
        return {
            "id": f"re_{refund.number}",
            "object": "refund",
            "created": payment.created,
            "charge": payment.charge,
            "payment_intent": payment.intent,
            "amount": refund.amount,
            "currency": "eur",
            "status": refund.status,
        }

    def _dispute_json(self, payment: Payment) -> Json:
        return {
            "id": f"du_{payment.number}",
            "object": "dispute",
            "created": payment.created,
            "charge": payment.charge,
            "payment_intent": payment.intent,
            "amount": payment.disputed,
            "currency": "eur",
            "status": payment.dispute,
        }

    def _invoice(self, invoice: Invoice) -> Json:
        plan = next(one for one in self.plans if one.id == invoice.subscription)
        raw: Json = {
            "id": invoice.id,
            "object": "invoice",
            "created": invoice.created,
            "status": invoice.status,
            "customer": CUSTOMER,
            "currency": "eur",
            "amount_due": invoice.amount,
            "amount_paid": invoice.amount if invoice.status == "paid" else 0,
            "metadata": {},
            "status_transitions": {"finalized_at": invoice.created, "paid_at": None},
            "lines": {"data": []},
        }
        entries = [
            {
                "id": f"inpay_{payment.number}",
                "status": "paid" if payment.state == "succeeded" else "open",
                "created": payment.created,
                "payment": {"type": "payment_intent", "payment_intent": payment.intent},
            }
            for payment in invoice.payments
        ]
        details = {"subscription": plan.id, "metadata": self._marks(f"{plan.plan}_m", plan.plan)}
        return raw | {"parent": {"subscription_details": details}, "payments": {"data": entries}}

    def _subscription(self, plan: Plan) -> Json:
        price = {"id": PLANS[plan.plan][0], "lookup_key": f"{plan.plan}_m"}
        period = {"current_period_start": plan.start, "current_period_end": plan.end}
        item: Json = {"id": f"si_{plan.number}", "price": price, "quantity": 1}
        raw: Json = {
            "id": plan.id,
            "object": "subscription",
            "created": plan.number,
            "status": plan.status,
            "customer": CUSTOMER,
            "currency": "eur",
            "metadata": self._marks(f"{plan.plan}_m", plan.plan),
            "cancel_at": plan.cancel_at,
            "cancel_at_period_end": plan.at_period_end,
            "trial_end": plan.trial_end,
            "status_details": (
                {"paused": {"subscription": {"type": "final_payment_failure"}}} if plan.gave_up else None
            ),
            "pause_collection": {"behavior": "void"} if plan.paused_collection else None,
            "latest_invoice": self._invoice(plan.invoices[-1]),
        }
        return raw | {"items": {"data": [item | period]}}


FILTERS = ("customer", "payment_intent", "charge")


class Stripe:
    """Answers out of a model. While `held` is not None, an answer puts an event there and waits for it."""

    def __init__(self, model: Model, clock: TrustedClock) -> None:
        self._model = model
        self._clock = clock
        self.held: list[asyncio.Event] | None = None

    async def _answer(self) -> dict[str, Json]:
        """The state of the moment of asking; what arrives late is as old as it is."""
        objects, now = self._model.objects(), self._model.now
        if self.held is not None:
            arrives = asyncio.Event()
            self.held.append(arrives)
            await arrives.wait()
        self._clock.observe(now)
        return objects

    async def retrieve(self, object_id: str) -> Json | None:
        return (await self._answer()).get(object_id)

    async def list(self, kind: str, params: Json) -> Page:
        wanted = {name: params[name] for name in FILTERS if name in params}
        rows = [
            raw
            for object_id, raw in (await self._answer()).items()
            if object_kind(object_id) == kind
            and all((_reference(raw.get(name)) == value) for name, value in wanted.items())
        ]
        rows.sort(key=lambda raw: (raw["created"], raw["id"]), reverse=True)
        limit = params["limit"]
        return Page(rows[:limit], len(rows) > limit)

    async def invoice_of_payment(self, intent: str) -> str | None:
        await self._answer()
        return self._model.invoice_of(intent)

    async def find_customers(self, router_id: str) -> Any:
        await self._answer()
        return [{"id": CUSTOMER}] if router_id == ROUTER else []


def _reference(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) else value
