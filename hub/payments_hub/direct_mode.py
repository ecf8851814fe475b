"""Routers of direct mode become routers of the hub: from Stripe's customers, which name their router.

A router of direct mode has written its id into the metadata of its customer and of all its objects. That id
becomes the account's, so everything that was bought is found by the same rule as on the router. The router
itself gets a code, and enrolls with it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from payments_hub.audit import recorded
from payments_hub.budget import Priority, priority
from payments_hub.hub import Hub

__all__ = ["import_routers"]

_ROUTER_ID: Final = re.compile(r"[0-9a-f]{32}")
_PAGE: Final = 100


async def import_routers(
    hub: Hub,
    actor: str,
    *,
    dry_run: bool = False,
    days: int = 90,
    found: Callable[[int], None] = lambda _count: None,
    imported: Callable[[dict[str, Any]], None] = lambda _row: None,
) -> dict[str, Any]:
    """Import what is not there yet: {routers[], known}. A router is {account, customer, email, router_id,
    code}; the last two are None in a dry run. `found` is called with their number before, `imported` with
    each as soon as it is stored. `known`: how many have an account already.

    Grants are not at Stripe, so they are not imported.
    """
    await hub.catalogs.current()
    candidates: dict[str, dict[str, Any]] = {}
    known = 0
    with priority(Priority.BACKGROUND):
        async for customer in _customers(hub):
            account = customer["metadata"]["router_id"]
            if account in candidates or await hub.accounts.find(account, None, None) is None:
                candidates[account] = (
                    customer  # Stripe lists the newest first, and the oldest is the router's
                )
            else:
                known += 1
        found(len(candidates))
        routers = []
        for account, customer in candidates.items():
            row = {"account": account, "customer": customer["id"], "email": customer.get("email")}
            made: dict[str, Any] = {**row, "router_id": None, "code": None}
            if not dry_run:
                async with recorded(hub.database, actor, "import", account=account) as entry:
                    made["router_id"], made["code"] = await hub.routers.prepare(
                        account, customer=customer["id"], note=_note(customer), days=days
                    )
                    entry["router"] = made["router_id"]
                    imported(made)
                    async with hub.accounts.open(account) as opened:
                        assert opened is not None, "`wait` is set"
                        await opened.poller.poll_everything()
            routers.append(made)
    return {"routers": routers, "known": known}


async def _customers(hub: Hub) -> AsyncIterator[dict[str, Any]]:
    """The customers that name a router."""
    wanted: dict[str, Any] = {"limit": _PAGE}
    while True:
        page = await hub.stripe.list("customer", wanted)
        for customer in page.data:
            marked = (customer.get("metadata") or {}).get("router_id")
            if not customer.get("deleted") and isinstance(marked, str) and _ROUTER_ID.fullmatch(marked):
                yield customer
        if not page.has_more or not page.data:
            return
        wanted["starting_after"] = str(page.data[-1]["id"])


def _note(customer: dict[str, Any]) -> str:
    """What tells the vendor which router it is; no personal data."""
    return f"direct mode {str(customer['metadata']['router_id'])[:8]}"
