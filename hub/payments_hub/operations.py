"""What the vendor does with routers: the operations of the command line and of the console.

Each is recorded in the audit log with its actor: `cli:USER`, or an operator's name. They raise VendorError,
HubError and PaymentError.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from payments_hub.accounts import Account
from payments_hub.audit import recorded
from payments_hub.erasure import erase_router
from payments_hub.errors import VendorError
from payments_hub.hub import Hub
from payments_hub.methods import view
from payments_hub.operators import Operators
from payments_hub.texts import _
from stripe_payments.bus_api import api
from stripe_payments.entitlements import Entitlement, ManualGrant, entitlements
from stripe_payments.rfc3339 import format_time

__all__ = ["Operations"]

_OBJECT: Final = re.compile(r"(?:cs_(?:test|live)_|[a-z]{2,6}_)[A-Za-z0-9_]{6,}")
"""An id of Stripe's: a charge that a customer names, a subscription seen in the Dashboard."""
_TRIGRAM: Final = re.compile(r"[^\W_]{3}")
"""What an index of trigrams (`migrations/0006`) can find."""
_DASHBOARD: Final = "https://dashboard.stripe.com"


class Operations:
    """The operations of one actor."""

    def __init__(self, hub: Hub, actor: str) -> None:
        self._hub = hub
        self._actor = actor
        self.operators = Operators(hub.database)

    # -- find and show ------------------------------------------------------------------------------

    async def find(self, text: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Routers by a part of their id, account, board, customer or note (a serial); by the complete e-mail
        address of the customer, for which Stripe is queried; by the id of a payment or subscription. Raises
        VendorError ``search_too_short`` for a text that no index finds.
        """
        text = text.strip()
        accounts: set[str] = set()
        if "@" in text:
            accounts = await self._accounts_of_email(text)
        elif _OBJECT.fullmatch(text) and (found := await self._hub.accounts.find(None, None, text)):
            accounts = {found}
        elif text and not _TRIGRAM.search(text):
            raise VendorError(
                "search_too_short",
                _("“{text}” is too short: reading every router would slow all of them down.", text=text),
                _("Search for at least three letters or digits in a row."),
            )
        return await self._hub.routers.find(text, limit, accounts=accounts)

    async def show(self, router: str, locale: str = "en") -> dict[str, Any]:
        """What `find` returns of a router, and {stripe, assignments[], features{}, grants[], refunds,
        subscriptions[], transactions[]}. A feature has {unlocked, source, plan, until, reason, sources[]}:
        `sources` is what each purchase, subscription and grant says of it; the feature itself is the best.
        `stripe`: the customer's page in the Dashboard.
        """
        row = await self._row(router)
        catalog = await self._hub.catalogs.current()
        async with self._hub.accounts.view(row["account"]) as account:
            call = view(account, locale)
            # an account without purchases and grants has no entitlements yet
            features = {name: Entitlement(name) for name in catalog.settings.features}
            grants = await account.ledger.read(lambda tx: tx.grants.all())
            sources = _sources(account, grants, self._hub.clock.now())
            return {
                **row,
                "stripe": self._dashboard(row["customer"]),
                "assignments": await self._hub.routers.assignments(row["account"], router),
                "features": {
                    name: {
                        "title": held.titles.in_locale(locale)
                        if (held := catalog.settings.features.get(name)) is not None
                        else name,
                        **_shown(entitlement),
                        "sources": sources.get(name, []),
                    }
                    for name, entitlement in {**features, **account.reconciler.state.entitlements}.items()
                },
                "grants": await account.grants.list(),
                "refunds": _refunds(account),
                **await api["subscriptions"].handler(call),
                **await api["transactions"].handler(call, limit=100),
            }

    # -- support ------------------------------------------------------------------------------------

    async def sync(self, router: str) -> dict[str, Any]:
        """Fetch everything of the router's account from Stripe; {changed[]}: names of features."""
        async with self._recorded("sync", router), self._account(router) as account:
            before = account.reconciler.state.entitlements
            await account.poller.poll_everything()
            after = account.reconciler.state.entitlements
        return {"changed": sorted(n for n in {*before, *after} if before.get(n) != after.get(n))}

    # -- admin --------------------------------------------------------------------------------------

    async def grant(
        self, router: str, feature: str, until: str | None = None, note: str | None = None
    ) -> dict[str, Any]:
        """Unlock a feature without payment, until a time (RFC 3339, UTC) or forever; the grant. The audit
        log holds no note: it may name a person.
        """
        async with (
            self._recorded("grant", router, feature=feature, until=until),
            self._account(router) as account,
        ):
            return await account.grants.grant(feature, until or None, note or None)

    async def end_grant(self, router: str, feature: str) -> dict[str, Any]:
        """End a grant; {feature, revoked}. The feature stays unlocked if a purchase unlocks it."""
        async with self._recorded("end_grant", router, feature=feature), self._account(router) as account:
            return await account.grants.revoke(feature)

    async def refund(
        self,
        router: str,
        payment: str,
        amount: int | None = None,
        reason: str | None = None,
        *,
        seen: str | None = None,
    ) -> dict[str, Any]:
        """Refund a payment of the router's account (cs_, pi_, ch_, in_), or `amount` minor units of it; as
        `RefundService.refund` returns. `seen`: how many refunds the operator has seen (`refunds` of `show`);
        raises VendorError ``changed_meanwhile`` if there are others, so that a form sent twice refunds once.
        """
        async with (
            self._recorded("refund", router, payment=payment, amount=amount, reason=reason) as entry,
            self._account(router) as account,
        ):
            if seen is not None and seen != str(_refunds(account)):
                raise VendorError(
                    "changed_meanwhile",
                    _("Something was refunded since the page was opened."),
                    _("Open the router's page again: the payment may have been refunded already."),
                )
            made = await account.refunds.refund(payment, amount, reason or None)
            entry["refund"] = made["id"]
            return made

    async def revoke(self, router: str) -> None:
        """Block a router: its credential is refused from the next request on. What was bought stays with the
        account.
        """
        async with self._recorded("revoke", router):
            await self._row(router)
            if not await self._hub.routers.revoke(router):
                raise _not_active(router)

    async def restore(self, router: str) -> None:
        """Accept a blocked router again."""
        async with self._recorded("restore", router):
            await self._row(router)
            if not await self._hub.routers.restore(router):
                raise VendorError(
                    "router_not_blocked",
                    _("The router is not blocked, or another one has its purchases now."),
                    _("Replace the other router by this one instead."),
                )

    async def unflag(self, router: str, flag: str | None = None) -> dict[str, Any]:
        """Remove a flag of a router, or all: {flags[]}, those that it had."""
        async with self._recorded("unflag", router) as entry:
            await self._row(router)
            entry["flags"] = cleared = await self._hub.routers.clear_flags(router, flag)
            if not cleared:
                raise VendorError(
                    "no_such_flag",
                    _("The router has no such flag."),
                    _("Its page shows its flags; this one may have been cleared already."),
                )
        return {"flags": cleared}

    async def rotate(self, router: str) -> dict[str, Any]:
        """Have a router exchange its credential for a new one at its next poll; {routers}: how many will. The
        old one is valid until the new one was used.
        """
        async with self._recorded("rotate", router):
            await self._row(router)
            if not await self._hub.routers.request_rotation(router):
                raise _not_active(router)
        return {"routers": 1}

    async def rotate_all(self) -> dict[str, Any]:
        """As `rotate`, of every active router."""
        async with self._recorded("rotate") as entry:
            entry["routers"] = found = await self._hub.routers.request_rotations()
        return {"routers": found}

    async def replace(self, router: str, note: str = "", days: int = 90) -> dict[str, Any]:
        """A code with which another router takes over everything that this one has, at the moment it enrols:
        {router_id, code, days}. This one ends then.
        """
        async with self._recorded("replace", router) as entry:
            row = await self._row(router)
            prepared, code = await self._hub.routers.prepare(
                row["account"], note=note or row["note"], days=days
            )
            entry["router"] = prepared
        return {"router_id": prepared, "code": code, "days": days}

    async def create(self, note: str = "", days: int = 90) -> dict[str, Any]:
        """A router that is yet to enrol: {router_id, code, days}. It can be granted features before."""
        async with self._recorded("create") as entry:
            prepared, code = await self._hub.routers.prepare(note=note, days=days)
            entry["router"] = prepared
        return {"router_id": prepared, "code": code, "days": days}

    async def create_code(self, note: str = "", days: int = 90, router: str | None = None) -> dict[str, Any]:
        """A code that one router enrols with: {code, days}. `router`: a new code for one that is prepared, in
        place of the one before.
        """
        async with self._recorded("create_code", router or ""):
            if router is None:
                code: str | None = await self._hub.routers.new_enrollment_code(note, days)
            else:
                await self._row(router)
                code = await self._hub.routers.new_code_of(router, days)
            if code is None:
                raise VendorError(
                    "router_enrolled",
                    _("The router has enrolled already."),
                    _("Create a code without naming a router, or replace the router."),
                )
        return {"code": code, "days": days}

    async def forget(self, router: str) -> dict[str, Any]:
        """Erase what is stored of a router and, unless another one has it, of its account; Stripe's own data
        stay. {routers[], accounts[]}: what is gone. Raises VendorError ``still_paying`` while a subscription
        runs.
        """
        async with self._recorded("forget", router), self._account(router) as account:
            if running := [one.id for one in account.reconciler.state.running]:
                raise VendorError(
                    "still_paying",
                    _("A subscription of this router is running: {ids}.", ids=", ".join(running)),
                    _("Cancel it first: without the router's data its payments would unlock nothing."),
                )
            return await erase_router(self._hub.database, router)

    # -- operators ----------------------------------------------------------------------------------

    async def create_operator(self, name: str, role: str, password: str) -> None:
        async with self._recorded("create_operator", name, role=role):
            await self.operators.create(name, role, password)

    async def set_password(self, name: str, password: str) -> None:
        """Set an operator's password; ends their sessions and enables one that was disabled."""
        async with self._recorded("set_password", name):
            await self.operators.set_password(name, password)

    async def disable_operator(self, name: str) -> None:
        """Log an operator out for good."""
        async with self._recorded("disable_operator", name):
            await self.operators.disable(name)

    # -- parts --------------------------------------------------------------------------------------

    def _recorded(
        self, action: str, subject: str = "", **detail: object
    ) -> AbstractAsyncContextManager[dict[str, object]]:
        return recorded(self._hub.database, self._actor, action, subject, **detail)

    async def _row(self, router: str) -> dict[str, Any]:
        row = await self._hub.routers.get(router)
        if row is None:
            raise VendorError(
                "unknown_router",
                _("There is no router {router}.", router=router),
                _("Find it by its id, serial, board, or the customer's e-mail address."),
            )
        return row

    @asynccontextmanager
    async def _account(self, router: str) -> AsyncIterator[Account]:
        """The account of a router, locked."""
        row = await self._row(router)
        await self._hub.catalogs.current()
        async with self._hub.accounts.open(row["account"]) as account:
            assert account is not None, "`wait` is set"
            yield account

    async def _accounts_of_email(self, address: str) -> set[str]:
        """Stripe compares addresses as they were entered, case and all."""
        found: set[str] = set()
        for spelling in {address, address.lower()}:
            page = await self._hub.stripe.list("customer", {"email": spelling, "limit": 100})
            for customer in page.data:
                account = await self._hub.accounts.find(None, str(customer["id"]), None)
                found.update({account} if account is not None else ())
        return found

    def _dashboard(self, customer: str | None) -> str | None:
        mode = "/test" if self._hub.mode == "test" else ""
        return f"{_DASHBOARD}{mode}/customers/{customer}" if customer else None


def _not_active(router: str) -> VendorError:
    return VendorError(
        "router_not_active",
        _("There is no active router {router}.", router=router),
        _("Only an active router can be blocked or change its credential; its page shows its state."),
    )


def _refunds(account: Account) -> int:
    return sum(row.kind == "refund" for row in account.reconciler.state.history)


def _sources(
    account: Account, grants: Iterable[ManualGrant], now: int | None
) -> dict[str, list[dict[str, Any]]]:
    """By feature, what each purchase, subscription and grant by itself would result in."""
    state, settings = account.reconciler.state, account.settings()
    previous = state.entitlements
    each: list[dict[str, Any]] = [
        *({"subscriptions": [one], "purchases": []} for one in state.subscriptions.values()),
        *({"subscriptions": [], "purchases": [one]} for one in state.purchases.values()),
        *({"subscriptions": [], "purchases": [], "grants": [one]} for one in grants),
    ]
    found: dict[str, list[dict[str, Any]]] = {}
    for source in each:
        alone = entitlements(**source, settings=settings, now=now, last_seen={}, previous=previous)
        for name, entitlement in alone.items():
            if entitlement.source:
                found.setdefault(name, []).append(_shown(entitlement))
    return found


def _shown(held: Entitlement) -> dict[str, Any]:
    return {
        "unlocked": held.unlocked,
        "source": held.source,
        "plan": held.plan,
        "until": format_time(held.until) if held.until is not None else None,
        "reason": held.reason,
    }
