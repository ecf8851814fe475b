"""The ledger as the payment rules see it, wherever it is stored: on a router it is SQLite (`database`).

`sync`, `billing` and `setup` are written against these classes; a table of tests holds every implementation
to them (tests/unit/stripe_payments/ledger/contract.py). Times are epoch seconds, amounts minor units.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.ledger.checkouts import Checkout, CheckoutState, Mode
from stripe_payments.payment_history import TransactionRow

__all__ = ["Ledger", "Transaction"]

_T = TypeVar("_T")


class Ledger(Protocol):
    """All that is known of one router's payments."""

    async def write(self, function: Callable[[Transaction], _T], *, durable: bool = True) -> _T:
        """Run `function` in a transaction of its own and return its value once what it wrote is durable;
        nothing remains of it if it raises. `durable=False`: the last moments of it may be lost.

        Raises PaymentError ``ledger_unavailable`` where the storage fails.
        """
        ...

    async def read(self, function: Callable[[Transaction], _T]) -> _T:
        """Run `function`, which must not write. Raises as `write` does."""
        ...


class Transaction(Protocol):
    """The tables, valid while the function runs."""

    @property
    def meta(self) -> Meta: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def checkouts(self) -> Checkouts: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def grants(self) -> Grants: ...
    @property
    def history(self) -> ArchivedHistory: ...
    @property
    def features(self) -> Features: ...
    @property
    def outbox(self) -> Outbox: ...


class Meta(Protocol):
    """Text values by key."""

    def get(self, key: str) -> str | None: ...
    def set(self, key: str, value: str) -> None: ...
    def delete(self, key: str) -> None: ...


class Objects(Protocol):
    """Stripe's objects as fetched (dicts as its API sends them), with ids in place of what was expanded."""

    def all(self) -> Mapping[str, Mapping[str, Any]]:
        """All objects by id: a snapshot. The same mapping means that nothing has changed."""
        ...

    def get(self, object_id: str) -> Mapping[str, Any] | None: ...

    def put(self, objects: Iterable[Mapping[str, Any]], fetched_at: int) -> bool:
        """Replace earlier states of the objects; whether one differs. Raises ValueError for something that
        is no Stripe object.
        """
        ...

    def delete(self, ids: Collection[str]) -> None: ...
    def unchanged_since(self, moment: int) -> set[str]: ...


class Checkouts(Protocol):
    """The Checkout sessions that were begun, durable before the buyer is sent away."""

    def add(
        self,
        idempotency_key: str,
        price_alias: str,
        price_id: str,
        mode: Mode,
        success_url: str,
        cancel_url: str,
        locale: str,
        created_at: int,
    ) -> Checkout:
        """Record that a session is about to be created. A key that was used raises the driver's integrity
        error.
        """
        ...

    def update(
        self,
        local_id: int,
        *,
        session_id: str | None = None,
        url: str | None = None,
        state: CheckoutState | None = None,
        expires_at: int | None = None,
    ) -> Checkout:
        """Record what is new. Raises KeyError for an unknown checkout."""
        ...

    def by_session(self, session_id: str) -> Checkout | None: ...
    def open(self) -> list[Checkout]:
        """Those still creating or open, oldest first."""
        ...

    def latest(self, limit: int = 1) -> list[Checkout]: ...


class Inbox(Protocol):
    """Webhook events that wait."""

    def accept(self, event_id: str, type: str, object_id: str, received_at: int) -> bool:  # noqa: A002
        """Store an event, due at once; False for a duplicate."""
        ...

    def finish(self, event_id: str, outcome: str) -> None: ...
    def pending_count(self) -> int: ...


class Grants(Protocol):
    """Features that an administrator unlocked."""

    def put(self, grant: ManualGrant) -> None: ...
    def delete(self, feature: str) -> bool: ...
    def all(self) -> list[ManualGrant]: ...


class ArchivedHistory(Protocol):
    """Lines of the history whose objects are no longer stored."""

    def all(self) -> Iterable[TransactionRow]: ...
    def put(self, rows: Iterable[TransactionRow]) -> None: ...
    def delete(self, ids: Collection[str]) -> None: ...


class Features(Protocol):
    """Every feature's entitlement by name."""

    def all(self) -> Mapping[str, Entitlement]: ...
    def get(self, feature: str) -> Entitlement | None: ...
    def replace(self, new: Mapping[str, Entitlement]) -> bool:
        """Make these the entitlements, a missing one is locked; whether one differs from before."""
        ...


class Outbox(Protocol):
    """Notifications of the rest of the system; each leaves only once its transaction is durable."""

    def add(self, kind: Any, payload: Mapping[str, Any]) -> int: ...
