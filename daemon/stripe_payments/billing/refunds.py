"""Refund payments, in part or in full."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _
from stripe_payments.log import Log
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.stripe_api import IDEMPOTENCY_KEY_TTL, StripeAPI, is_replayed, is_transient, object_kind
from stripe_payments.sync.fetch import stored_form, units_of
from stripe_payments.sync.payment_facts import Payment, money_back
from stripe_payments.sync.raw_fields import expanded, integer, metadata, reference
from stripe_payments.sync.stripe_objects import parse_objects

if TYPE_CHECKING:
    from stripe_payments.ledger import Ledger, Transaction
    from stripe_payments.stripe_api.parameters import RefundCreateParams
    from stripe_payments.sync import Reconciler

_log = Log("refunds")

REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer")

_REQUEST: Final = "refund_request"
"""Metadata of a refund: the key of the request that made it."""

_WHY: Final = {
    "refunded": _("it is already fully refunded"),
    "disputed": _("it is disputed"),
    "no_payment_required": _("there was no charge"),
}
_CREDITED: Final = _("what is left of it became customer credit when the plan was changed")
_NOTED: Final = _("what is left of it was given back by a credit note")
_ELSEWHERE: Final = _("it was paid outside of Stripe, and is refunded there")
_REST_ELSEWHERE: Final = _("the rest of it was paid outside of Stripe, and is refunded there")
_NOT_PAID: Final = _("it is not paid")
_UNKNOWN_REASON: Final = _("it must be one of duplicate, fraudulent, requested_by_customer")
_AMOUNT: Final = _("it must be a positive integer, in the currency's smallest unit")


class RefundService:
    def __init__(self, ledger: Ledger, stripe: StripeAPI, reconciler: Reconciler) -> None:
        self._ledger = ledger
        self._stripe = stripe
        self._reconciler = reconciler
        self._refunds: SharedTasks[tuple[str, int | None, str | None], dict[str, Any]] = SharedTasks()
        self._lock = asyncio.Lock()

    async def refund(
        self, payment_id: str, amount: int | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """Refund `amount` minor units of a payment (cs_, pi_, ch_, in_), or the rest of it, and return {id,
        payment_id, amount, currency, status, reason, credited}.

        An invoice is refunded across its payments; the answer then has the id of the last refund and the sum
        of all, and `credited`: what a change of plan or a credit note gave back, which is left out.

        Callers that request the same refund while it is in progress get that one: a double click refunds
        once. Raises invalid_argument, payment_not_found, not_refundable, amount_too_large, Stripe's errors.
        """
        if object_kind(payment_id) not in ("checkout.session", "payment_intent", "charge", "invoice"):
            raise PaymentError("invalid_argument", argument="payment_id")
        if reason and reason not in REASONS:
            raise PaymentError("invalid_argument", argument="reason", reason=_UNKNOWN_REASON)
        if amount is not None and amount <= 0:
            raise PaymentError("invalid_argument", argument="amount", reason=_AMOUNT)
        return await self._refunds.run(
            (payment_id, amount, reason), lambda: self._one_at_a_time(payment_id, amount, reason)
        )

    async def _one_at_a_time(self, payment_id: str, amount: int | None, reason: str | None) -> dict[str, Any]:
        async with self._lock:  # each depends on the amount that the one before has left
            return await self._refund(payment_id, amount, reason)

    async def _refund(self, payment_id: str, amount: int | None, reason: str | None) -> dict[str, Any]:
        paid = await self._payment(payment_id)
        entry = f"refund {paid.id} {amount or 'all'} {reason or ''}"
        steps = await self._ledger.read(lambda tx: _unanswered(tx, entry))
        if steps is None:
            if not paid.left:
                raise PaymentError("not_refundable", payment_id=payment_id, reason=paid.why)
            steps = paid.steps(amount)
        made = await self._carry_out(payment_id, steps, reason, entry)
        return {**made, "credited": paid.credited}

    async def _carry_out(
        self, payment_id: str, steps: list[_Step], reason: str | None, entry: str
    ) -> dict[str, Any]:
        """Create the refunds. Until Stripe has answered, the ledger's `entry` holds the steps with their
        idempotency keys: the same request after a lost response or a power cut gets the same refunds.
        """
        refunds = []
        await self._record(entry, steps)
        for number in range(len(steps)):
            try:
                refunds.append(await self._create_or_find(steps, number, reason, entry))
            except PaymentError as error:
                if not is_transient(error):
                    await self._ledger.write(lambda tx: tx.meta.delete(entry))
                if error.details.get("stripe_code") in ("charge_already_refunded", "charge_disputed"):
                    raise PaymentError(
                        "not_refundable", payment_id=payment_id, reason=error.details.get("reason")
                    ) from error
                raise
        await self._ledger.write(lambda tx: tx.meta.delete(entry))
        for step, refund in zip(steps, refunds, strict=True):
            _log.info("refunded", payment=step.payment, refund=refund["id"], amount=refund.get("amount"))
            await self._sync(step.payment)
        last = refunds[-1]
        return {
            "id": last["id"],
            "payment_id": payment_id,
            "amount": sum(refund.get("amount") or 0 for refund in refunds),
            "currency": last.get("currency"),
            "status": next((r["status"] for r in refunds if r["status"] != "succeeded"), last["status"]),
            "reason": last.get("reason"),
        }

    async def _create_or_find(
        self, steps: list[_Step], number: int, reason: str | None, entry: str
    ) -> dict[str, Any]:
        try:
            return await self._create(steps[number], reason)
        except PaymentError as error:
            if not is_replayed(error):
                raise
        # for a day this key would fail; the request that failed may have refunded all the same
        made = await self._made(steps[number])
        if made is not None:
            return made
        steps[number] = replace(steps[number], key=uuid.uuid4().hex)
        await self._record(entry, steps)
        return await self._create(steps[number], reason)

    async def _record(self, entry: str, steps: list[_Step]) -> None:
        value = f"{int(time.time())} {json.dumps([astuple(step) for step in steps])}"
        await self._ledger.write(lambda tx: tx.meta.set(entry, value))

    async def _create(self, step: _Step, reason: str | None) -> dict[str, Any]:
        params: RefundCreateParams = {
            "metadata": {"router_id": self._reconciler.identity.router_id, _REQUEST: step.key}
        }
        params[step.named] = step.payment
        if step.amount is not None:
            params["amount"] = step.amount
        if reason:
            params["reason"] = reason
        return await self._stripe.create("refund", params, f"refund-{step.key}")

    async def _made(self, step: _Step) -> dict[str, Any] | None:
        """The refund that a request with the step's key has made, by its metadata."""
        page = await self._stripe.list("refund", {step.named: step.payment, "limit": 100})
        return next((one for one in page.data if metadata(one).get(_REQUEST) == step.key), None)

    async def _payment(self, payment_id: str) -> _Refundable:
        """The payment as Stripe has it now; only one of ours can be refunded here."""
        outcome = await self._reconciler.sync(payment_id, "refund")
        if not outcome.ours:
            raise PaymentError("payment_not_found", payment_id=payment_id)
        state = self._reconciler.state
        kind = object_kind(payment_id)
        if kind == "invoice":
            return await self._invoice(payment_id)
        paid: Payment | None
        if kind == "checkout.session":
            # the first payment of a plan is that of an invoice
            if (invoice := reference(state.objects.get(payment_id, {}).get("invoice"))) is not None:
                return await self._invoice(invoice)
            paid = state.payments.get(payment_id)
        else:
            charge = state.parsed.charges.get(payment_id)
            intent = (charge.payment_intent if charge is not None else None) or payment_id
            invoices = [one.id for one in state.parsed.invoices.values() if intent in one.paid_by]
            if invoices:
                return await self._invoice(invoices[0], only=intent)
            paid = state.payment_of(intent)
        if paid is None or paid.payment_intent is None:
            why = _WHY.get(paid.status, _NOT_PAID) if paid is not None else _NOT_PAID
            return _Refundable(payment_id, {}, why)
        left = _left(paid)
        return _Refundable(paid.payment_intent, {paid.payment_intent: left} if left else {}, _why(paid))

    async def _invoice(self, invoice_id: str, only: str | None = None) -> _Refundable:
        """All payments of an invoice, or one of them, without what was given back already: by a later change
        of plan, which turned it into customer credit, or by a credit note.
        """
        left: dict[str, int] = {}
        why = _NOT_PAID
        state = self._reconciler.state
        invoice = state.parsed.invoices.get(invoice_id)
        for paid_by in invoice.paid_by if invoice is not None else ():
            left[paid_by], why = await self._part(paid_by)
        noted = await self._noted(invoice_id)
        credited = unassigned = min(noted + state.credited_since(invoice_id), sum(left.values()))
        for paid_by in reversed(left):
            taken = min(left[paid_by], unassigned)
            left[paid_by] -= taken
            unassigned -= taken
            if taken:
                why = _NOTED if noted else _CREDITED
        if invoice is not None and invoice.paid_elsewhere and not credited:
            why = _REST_ELSEWHERE if left else _ELSEWHERE
        wanted = {name: amount for name, amount in left.items() if amount and only in (None, name)}
        return _Refundable(only or invoice_id, wanted, why, credited)

    async def _noted(self, invoice_id: str) -> int:
        """What credit notes on a paid invoice gave back as customer credit, or outside of Stripe; minor
        units. https://docs.stripe.com/api/credit_notes/object
        """
        state = self._reconciler.state
        total = integer(state.objects.get(invoice_id, {}).get("post_payment_credit_notes_amount")) or 0
        if not total:
            return 0
        try:
            notes = (await self._stripe.list("credit_note", {"invoice": invoice_id, "limit": 100})).data
        except PaymentError as error:
            if error.code != "stripe_key_permission":
                raise
            # which of them were refunds is not known: as many as there are refunds
            return max(0, total - state.invoices[invoice_id].refunded)
        issued = [note for note in notes if note.get("status") == "issued"]
        refunds = [refund for note in issued for refund in note.get("refunds") or ()]
        given_back = sum(integer(note.get("post_payment_amount")) or 0 for note in issued)
        return given_back - sum(integer(refund.get("amount_refunded")) or 0 for refund in refunds)

    async def _part(self, paid_by: str) -> tuple[int, Text]:
        """(what is left of one payment of an invoice in minor units, why nothing is)."""
        payment = await self._stripe.retrieve(paid_by) or {}
        charge = payment if object_kind(paid_by) == "charge" else expanded(payment.get("latest_charge"))
        if not charge:
            return 0, _NOT_PAID
        disputes = []
        if charge.get("disputed"):
            disputes = (await self._stripe.list("dispute", {"charge": str(charge["id"]), "limit": 10})).data
        stored = stored_form(units_of(charge, 0.0, disputes))
        back = money_back(parse_objects({str(one["id"]): one for one in stored}))[str(charge["id"])]
        if back.dispute in ("open", "lost") and not back.inquiry:
            return 0, _WHY["disputed"]
        return back.captured - back.refunded, _WHY["refunded"]

    async def _sync(self, payment: str) -> None:
        """Apply the effect now; if Stripe is unreachable at this moment, the poller will."""
        try:
            await self._reconciler.sync(payment, "refund")
        except PaymentError as error:
            _log.warning("refund not synced, left to the poller", error=error.code)


@dataclass(frozen=True, slots=True)
class _Step:
    """One refund of one payment intent, or of a charge that has none; `amount` None: all that is left."""

    payment: str
    amount: int | None
    key: str

    @property
    def named(self) -> Literal["payment_intent", "charge"]:
        """The parameter that names the payment."""
        return "charge" if object_kind(self.payment) == "charge" else "payment_intent"


@dataclass(frozen=True, slots=True)
class _Refundable:
    """What can be refunded: `left` of each payment intent or charge, in minor units. `id`: the same whichever
    id of the payment was passed; `why`: why nothing is left; `credited`: what is left out because it was
    given back otherwise, in minor units.
    """

    id: str
    left: Mapping[str, int]
    why: Text
    credited: int = 0

    def steps(self, amount: int | None) -> list[_Step]:
        """Refund `amount`, or all, across the payments in turn. Raises amount_too_large."""
        available = sum(self.left.values())
        if amount is not None and amount > available:
            reason = self.why if self.why in (_CREDITED, _NOTED, _REST_ELSEWHERE) else None
            raise PaymentError("amount_too_large", amount=amount, available=available, reason=reason)
        wanted = available if amount is None else amount
        steps = []
        for payment, left in self.left.items():
            part = min(left, wanted)
            wanted -= part
            if part:
                steps.append(_Step(payment, part, uuid.uuid4().hex))
        return steps


def _left(paid: Payment) -> int:
    if paid.status not in ("paid", "partially_refunded") and not (paid.status == "disputed" and paid.inquiry):
        return 0
    return max(0, (paid.amount or 0) - paid.amount_refunded)


def _why(paid: Payment) -> Text:
    return _WHY.get(paid.status, _NOT_PAID)


def _unanswered(tx: Transaction, entry: str) -> list[_Step] | None:
    """The steps of the same request that got no answer, while Stripe still knows their keys."""
    at, _, steps = (tx.meta.get(entry) or "").partition(" ")
    if not at.isdigit() or abs(time.time() - int(at)) >= IDEMPOTENCY_KEY_TTL:
        return None
    return [_Step(*step) for step in json.loads(steps)]
