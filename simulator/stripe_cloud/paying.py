"""What happens when a payment intent is confirmed: charges, declines, authentication, debits that settle
later.

Sources: https://docs.stripe.com/payments/paymentintents/lifecycle, https://docs.stripe.com/testing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from . import cards, disputes
from .account import Account
from .api_errors import Json, invalid
from .cards import Decline, TestCard
from .objects import payments as objects

State = Literal["succeeded", "processing", "declined", "requires_action"]


@dataclass(frozen=True)
class Attempt:
    """The result of one attempt at paying."""

    state: State
    intent: Json
    charge: Json | None = None
    decline: Decline | None = None


def confirm(
    account: Account,
    intent: Json,
    method: Json,
    card: TestCard,
    *,
    on_session: bool,
    authenticated: bool | None = None,
) -> Attempt:
    """Charge `card` for the intent.

    `on_session`: the buyer is there and can answer a 3-D Secure challenge.  `authenticated`: None before
    the challenge, then whether it was passed.
    """
    intent["payment_method"] = method["id"] if method.get("customer") else None
    if authenticated is False:
        return _refuse(account, intent, method, card, cards.AUTHENTICATION_FAILED, charged=False)
    must_ask = card.challenge == "always" or (on_session and card.challenge == "setup")
    if must_ask and authenticated is None:
        return _ask(account, intent, method)
    decline = card.decline if on_session else card.later_decline or card.decline
    if decline is not None:
        return _refuse(account, intent, method, card, decline, charged=True)
    charge = account.add(
        objects.charge(account, intent, method, card, authenticated=bool(authenticated)), card=card.number
    )
    if card.settles_after:
        return _process(account, intent, method, charge, card)
    return _succeed(account, intent, method, charge, card)


def settle(account: Account, intent: Json) -> Attempt:
    """A bank debit becomes final."""
    charge = account.get("charge", intent["latest_charge"])
    card = cards.CARDS[account.behind(charge["id"])["card"]]
    method = account.get("payment_method", charge["payment_method"])
    if not card.settlement_fails:
        return _succeed(account, intent, method, charge, card)
    decline = cards.DEBIT_REFUSED
    with account.changing(charge, None):
        charge.update(
            status="failed",
            failure_code=decline.decline_code,
            failure_message=decline.en,
            outcome=objects.outcome(decline),
        )
    account.emit("charge.failed", charge)
    return _fail_intent(account, intent, method, charge, decline)


def cancel(account: Account, intent: Json, reason: str | None) -> None:
    """Cancel an intent that is not final; 400 `payment_intent_unexpected_state` otherwise."""
    if intent["status"] in {"succeeded", "canceled", "processing"}:
        raise invalid(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    with account.changing(intent, None):
        intent.update(
            status="canceled", canceled_at=account.now(), cancellation_reason=reason, next_action=None
        )
    account.emit("payment_intent.canceled", intent)


def _ask(account: Account, intent: Json, method: Json) -> Attempt:
    with account.changing(intent, None):
        intent["status"] = "requires_action"
        intent["last_payment_error"] = None
        intent["payment_method"] = method["id"]
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {
                "return_url": None,
                "url": f"{account.public_url}/3ds/{intent['id']}",
            },
        }
    account.emit("payment_intent.requires_action", intent)
    return Attempt("requires_action", intent)


def _refuse(
    account: Account, intent: Json, method: Json, card: TestCard, decline: Decline, *, charged: bool
) -> Attempt:
    charge = None
    if charged:
        charge = objects.charge(account, intent, method, card, authenticated=False)
        charge.update(
            status="failed",
            failure_code=decline.code,
            failure_message=decline.en,
            outcome=objects.outcome(decline),
        )
        account.add(charge, card=card.number)
        account.emit("charge.failed", charge)
    return _fail_intent(account, intent, method, charge, decline)


def _fail_intent(
    account: Account, intent: Json, method: Json, charge: Json | None, decline: Decline
) -> Attempt:
    with account.changing(intent, None):
        intent["status"] = "requires_payment_method"
        intent["next_action"] = None
        intent["payment_method"] = None
        intent["last_payment_error"] = objects.payment_error(
            decline, charge["id"] if charge else None, dict(method)
        )
        if charge is not None:
            intent["latest_charge"] = charge["id"]
    account.emit("payment_intent.payment_failed", intent)
    return Attempt("declined", intent, charge, decline)


def _process(account: Account, intent: Json, method: Json, charge: Json, card: TestCard) -> Attempt:
    account.schedule(account.now() + card.settles_after, "settle_payment", intent["id"])
    charge["outcome"] = objects.outcome(None)
    with account.changing(intent, None):
        intent.update(
            status="processing",
            latest_charge=charge["id"],
            payment_method=method["id"],
            last_payment_error=None,
            next_action=None,
        )
    account.emit("charge.pending", charge)
    account.emit("payment_intent.processing", intent)
    return Attempt("processing", intent, charge)


def _succeed(account: Account, intent: Json, method: Json, charge: Json, card: TestCard) -> Attempt:
    kind = "charge" if card.kind == "card" else "payment"
    movement = account.add(objects.balance_transaction(account, charge, charge["amount"], kind))
    with account.changing(charge, None):
        charge.update(
            status="succeeded",
            paid=True,
            captured=True,
            amount_captured=charge["amount"],
            balance_transaction=movement["id"],
            outcome=objects.outcome(None),
            receipt_url=f"{account.public_url}/receipts/{charge['id']}",
        )
    with account.changing(intent, None):
        intent.update(
            status="succeeded",
            amount_received=intent["amount"],
            latest_charge=charge["id"],
            payment_method=method["id"],
            last_payment_error=None,
            next_action=None,
        )
    account.emit("charge.succeeded", charge)
    account.emit("payment_intent.succeeded", intent)
    if card.disputed:
        disputes.open_dispute(account, charge)
    return Attempt("succeeded", intent, charge)
