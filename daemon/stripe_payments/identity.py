"""Who this router is to Stripe: its own id, made once and kept for ever, and its customer.

``identity.json``: ``{"router_id": 32 hex digits, "customer": "cus_…" or null}``. Every object that the router
creates at Stripe carries the router_id, and the customer is found again by it, so losing this file means
losing the purchases: it is listed in keep.d and written durably.
"""

import json
import re
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from stripe_payments.durable_file import make_private_directory, set_aside, write_durably
from stripe_payments.errors import PaymentError
from stripe_payments.journal import Journal

__all__ = ["Identity", "IdentityStore"]

_journal = Journal("identity")

_ROUTER_ID = re.compile(r"[0-9a-f]{32}")
_CUSTOMER = re.compile(r"cus_[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """`router_id`: 32 hex digits; `customer`: Stripe's ``cus_…``, None until there is one."""

    router_id: str
    customer: str | None = None


class IdentityStore:
    """The identity on disk, created at the first `load`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "identity.json"
        self._loaded: Identity | None = None

    def load(self) -> Identity:
        """The identity; made and durably stored when there is none.

        Raises PaymentError ``ledger_unavailable`` where the storage fails: an id that might not last is never
        used.
        """
        if self._loaded is None:
            try:
                self._loaded = self._read() or self._write(Identity(uuid.uuid4().hex))
            except OSError as error:
                raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        return self._loaded

    def set_customer(self, customer: str | None) -> Identity:
        """Remember the customer (None forgets one that was deleted at Stripe). Written only on change."""
        if customer is not None and not _CUSTOMER.fullmatch(customer):
            raise ValueError(f"not a customer id: {customer!r}")
        identity = self.load()
        if identity.customer == customer:
            return identity
        try:
            self._loaded = self._write(replace(identity, customer=customer))
        except OSError as error:
            raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        return self._loaded

    def _read(self) -> Identity | None:
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            content = None
        if isinstance(content, dict):
            router_id, customer = content.get("router_id"), content.get("customer")
            if isinstance(router_id, str) and _ROUTER_ID.fullmatch(router_id):
                known = isinstance(customer, str) and _CUSTOMER.fullmatch(customer) is not None
                return Identity(router_id, customer if known else None)
        aside = set_aside(self._path)
        _journal.error("identity.json is damaged: this router gets a new id", kept_as=aside.name)
        return None

    def _write(self, identity: Identity) -> Identity:
        make_private_directory(self._path.parent)
        content = {"router_id": identity.router_id, "customer": identity.customer}
        write_durably(self._path, json.dumps(content, indent=1).encode() + b"\n")
        return identity
