"""The forms that change something at a router. Each has a page of its own that says what will happen.

A refund's amount is entered in the currency's unit; everything else is checked by the operation itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from payments_hub.console.words import minor_units
from payments_hub.errors import VendorError
from payments_hub.operations import Operations
from payments_hub.texts import Text, _

__all__ = ["ACTIONS", "Action"]

Shown = Mapping[str, Any]
"""A router as `Operations.show` returns it."""
Form = Callable[[str], str]
"""A field by its name."""


@dataclass(frozen=True, slots=True)
class Action:
    """`effects`: what will happen; `fields`: the form's (see action.html); `perform` returns what is shown
    once, a code, or None.
    """

    title: Text
    button: Text
    effects: tuple[Text, ...]
    perform: Callable[[Operations, Shown, Form], Awaitable[Mapping[str, Any] | None]]
    fields: tuple[str, ...] = ()
    dangerous: bool = True


async def _grant(vendor: Operations, router: Shown, form: Form) -> None:
    day = form("until")
    await vendor.grant(router["id"], form("feature"), f"{day}T23:59:59Z" if day else None, form("note"))


async def _end_grant(vendor: Operations, router: Shown, form: Form) -> None:
    await vendor.end_grant(router["id"], form("feature"))


async def _refund(vendor: Operations, router: Shown, form: Form) -> None:
    payment, entered = form("payment"), form("amount")
    amount = None
    if entered:
        currency = next((row["currency"] for row in router["transactions"] if row["id"] == payment), "")
        amount = minor_units(entered, currency)
        if not amount:
            raise VendorError(
                "invalid_amount",
                _("“{amount}” is not an amount.", amount=entered),
                _("Enter it as 4.99, or leave it empty to refund what is left."),
            )
    await vendor.refund(router["id"], payment, amount, form("reason"), seen=form("seen"))


async def _revoke(vendor: Operations, router: Shown, _form: Form) -> None:
    await vendor.revoke(router["id"])


async def _restore(vendor: Operations, router: Shown, _form: Form) -> None:
    await vendor.restore(router["id"])


async def _unflag(vendor: Operations, router: Shown, form: Form) -> None:
    await vendor.unflag(router["id"], form("flag"))


async def _rotate(vendor: Operations, router: Shown, _form: Form) -> None:
    await vendor.rotate(router["id"])


async def _replace(vendor: Operations, router: Shown, form: Form) -> Mapping[str, Any]:
    return await vendor.replace(router["id"], form("note"))


async def _new_code(vendor: Operations, router: Shown, _form: Form) -> Mapping[str, Any]:
    return {"router_id": router["id"], **await vendor.create_code(router=router["id"])}


async def _forget(vendor: Operations, router: Shown, _form: Form) -> None:
    await vendor.forget(router["id"])


ACTIONS: Final[Mapping[str, Action]] = {
    "grant": Action(
        _("Grant a feature"),
        _("Grant"),
        (
            _("The feature is unlocked without payment, until the day you choose or forever."),
            _("An earlier grant of the same feature is replaced."),
        ),
        _grant,
        ("feature", "until", "note"),
        dangerous=False,
    ),
    "end-grant": Action(
        _("End a grant"),
        _("End the grant"),
        (_("The feature locks, unless a purchase unlocks it as well."),),
        _end_grant,
        ("granted",),
    ),
    "refund": Action(
        _("Refund a payment"),
        _("Refund now"),
        (
            _("The amount is refunded to the payer. This cannot be undone."),
            _("Features that only this payment unlocks lock at once when nothing of it is left."),
            _("A subscription goes on and is charged again: cancel it in Stripe or on the router."),
        ),
        _refund,
        ("payment", "amount", "reason"),
    ),
    "revoke": Action(
        _("Block the router"),
        _("Block"),
        (
            _("The router's credential is refused from its next request on: it cannot buy any more."),
            _("What it has stays unlocked on it until the end of the paid period."),
            _("Subscriptions go on and are charged; what was bought can be moved to another router."),
        ),
        _revoke,
    ),
    "restore": Action(
        _("Unblock the router"),
        _("Unblock"),
        (_("The router's credential is accepted again."),),
        _restore,
        dangerous=False,
    ),
    "unflag": Action(
        _("Clear a flag"),
        _("Clear"),
        (
            _("The flag is removed from the router. The audit log keeps it."),
            _("When the same happens again, the router is flagged again."),
        ),
        _unflag,
        ("flag",),
        dangerous=False,
    ),
    "rotate": Action(
        _("Exchange the credential"),
        _("Request it"),
        (
            _("The router makes a new credential when it polls next, and what it has stays as it is."),
            _("The old one is accepted until the new one was used."),
            _("Who has a copy could be the first to do so: block or replace a router that was copied."),
        ),
        _rotate,
        dangerous=False,
    ),
    "replace": Action(
        _("Replace the router"),
        _("Create the code"),
        (
            _("You get a code for the new router. When it enrolls, it gets everything that this one has."),
            _("This router ends at that moment: its features lock, and it cannot buy any more."),
        ),
        _replace,
        ("note",),
    ),
    "code": Action(
        _("New enrollment code"),
        _("Create the code"),
        (_("The code that this router had before ends."),),
        _new_code,
        dangerous=False,
    ),
    "forget": Action(
        _("Erase the router"),
        _("Erase"),
        (
            _("Everything that is stored here of the router and of what it bought is erased."),
            _("The router has to enroll again, without anything it had. This cannot be undone."),
            _("Stripe keeps its own data: delete the customer there if you have to. The audit log stays."),
        ),
        _forget,
        ("confirm",),
    ),
}
"""By the last part of the address."""
