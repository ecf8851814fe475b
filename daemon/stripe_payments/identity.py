"""The router's identity at Stripe: its own id, created once and kept forever, and its customer.

``identity.json``: ``{"router_id": 32 hex digits, "customer": "cus_…" or null}``. Every object that the router
creates at Stripe carries the router_id, and the customer is found again by it, so losing it means losing the
purchases: the file is listed in keep.d and written durably, and the ledger has a copy of the id.
"""

import json
import re
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.files import make_private_directory, set_aside, write_durably
from stripe_payments.log import Log

__all__ = ["META_ROUTER_ID", "Identity", "IdentityStore"]

_log = Log("identity")

META_ROUTER_ID: Final = "router_id"
"""Ledger meta: a copy of the id, in case the file is lost or corrupt."""

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

    @property
    def loaded(self) -> Identity | None:
        """The result of `load`, None before the first one: reading this never creates an id."""
        return self._loaded

    def load(self, recorded: Identity | None = None) -> Identity:
        """Return the identity; create and store it durably if there is none.

        `recorded`: the ledger's copy, used where the file is lost or corrupt. Raises PaymentError
        ``ledger_unavailable`` where the storage fails: an id that is not durable is never used.
        """
        if self._loaded is None:
            try:
                self._loaded = self._read()
                if self._loaded is None:
                    if recorded is not None:
                        _log.warning("identity restored from the ledger", router_id=recorded.router_id)
                    self._loaded = self._write(recorded or Identity(uuid.uuid4().hex))
            except OSError as error:
                raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        return self._loaded

    def set_customer(self, customer: str | None) -> Identity:
        """Store the customer (None for one that was deleted at Stripe). Written only on change."""
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
        _log.error("identity.json is corrupt", kept_as=aside.name)
        return None

    def _write(self, identity: Identity) -> Identity:
        make_private_directory(self._path.parent)
        content = {"router_id": identity.router_id, "customer": identity.customer}
        write_durably(self._path, json.dumps(content, indent=1).encode() + b"\n")
        return identity
