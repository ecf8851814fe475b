"""What time brings about: sessions expire, debits settle, subscriptions renew.

Objects put their next moment on the account's agenda (`Account.schedule`).  Here is what happens when it
comes.  Each task looks at the object as it is then; a moment that no longer applies does nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from . import checkout, paying, refunds
from .account import Account
from .billing import renewals

Task = Callable[[Account, str], None]


def run_due(account: Account) -> int:
    """Do everything whose time has come; returns how many tasks that were."""
    done = 0
    while (due := account.take_due()) is not None:
        task, object_id = due
        if account.find(object_id) is not None:
            TASKS[task](account, object_id)
        done += 1
    return done


def advance(account: Account, seconds: float) -> None:
    """Move the clock, stopping at every moment on the way at which something is due."""
    target = account.clock.precise() + seconds
    while (moment := account.next_due()) is not None and moment <= target:
        account.clock.move_to(moment)
        run_due(account)
    account.clock.move_to(target)


def _expire_session(account: Account, session_id: str) -> None:
    session = account.get("checkout.session", session_id)
    if session["status"] == "open" and session["expires_at"] <= account.now():
        checkout.expire(account, session)


def _settle_payment(account: Account, intent_id: str) -> None:
    intent = account.get("payment_intent", intent_id)
    if intent["status"] != "processing":
        return
    attempt = paying.settle(account, intent)
    behind = account.behind(intent_id)
    if "invoice" in behind:
        renewals.payment_settled(account, account.get("invoice", behind["invoice"]), attempt)
        for session in account.newest_first("checkout.session"):
            if session["invoice"] == behind["invoice"]:  # it began the subscription
                checkout.settled(account, session, attempt)
                break
    if "session" in behind:
        checkout.settled(account, account.get("checkout.session", behind["session"]), attempt)


def _settle_refund(account: Account, refund_id: str) -> None:
    refund = account.get("refund", refund_id)
    if refund["status"] == "pending":
        refunds.settle_refund(account, refund)


TASKS: dict[str, Task] = {
    "expire_session": _expire_session,
    "settle_payment": _settle_payment,
    "settle_refund": _settle_refund,
    **renewals.TASKS,
}
