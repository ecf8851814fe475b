"""The database roles of the hub's processes, and what each may do: a process that is taken over reaches no
more than its own role.

`migrate` grants this to those of the roles that exist; creating them needs a superuser once. Without them,
every process uses the role that owns the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["CONSOLE", "ROUTERS", "WEBHOOK", "statements"]

ROUTERS: Final = "hub_routers"
WEBHOOK: Final = "hub_webhook"
CONSOLE: Final = "hub_console"
"""Worker, console and command."""

_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
_GRANTS: Final = {
    ROUTERS: {
        "accounts": "SELECT, INSERT, UPDATE (customer, version, recompute_at)",
        "routers": "SELECT, INSERT, UPDATE",
        "assignments": "SELECT, INSERT, UPDATE (ended_at)",
        "credentials": "SELECT, INSERT, UPDATE (status), DELETE",
        "enrollment_codes": "SELECT, UPDATE (router, conflicts)",
        "enrollment_attempts": "SELECT, INSERT, UPDATE",
        "recovery_codes": _ALL,
        "catalogs": "SELECT",
        "replies": "SELECT, INSERT",
        "meta": _ALL,
        "objects": _ALL,
        "checkouts": "SELECT, INSERT, UPDATE",
        "grants": "SELECT",
        "history": _ALL,
        "features": "SELECT, INSERT, UPDATE",
        "outbox": "SELECT, INSERT",
        "stripe_budget": "SELECT, INSERT, UPDATE",
    },
    WEBHOOK: {
        "inbox": "SELECT (event_id),"
        " INSERT (event_id, type, object_id, owner, customer, created, api_version, payload)",
        "catalogs": "SELECT (version, document, prices)",
    },
}
"""By role and table: all that it may do."""


def statements(existing: set[str]) -> Iterator[str]:
    """SQL that grants this, and nothing else, to those of the roles that exist."""
    for role in sorted(existing & {ROUTERS, WEBHOOK, CONSOLE}):
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"
        yield f"GRANT USAGE ON SCHEMA public TO {role}"
        if role == CONSOLE:
            yield f"GRANT {_ALL} ON ALL TABLES IN SCHEMA public TO {role}"
        for table, privileges in _GRANTS.get(role, {}).items():
            yield f"GRANT {privileges} ON {table} TO {role}"
