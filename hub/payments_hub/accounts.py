"""One account's payment rules, run as on a router: the same services, on its ledger in PostgreSQL.

`Accounts.open` holds a lock of the account across all instances, for as long as one request to Stripe or
several take: no response is overtaken by a newer one, no two requests of one buyer compete. The lock ends
with the connection, so an instance that is killed leaves nothing locked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.account_ledger import AccountLedger
from payments_hub.catalog import Catalogs
from payments_hub.database import OPEN_AT_ONCE, VIEWED_AT_ONCE, Database
from payments_hub.errors import HubError
from stripe_payments import billing
from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.identity import Identity, IdentityStore
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.sync import Poller, Reconciler
from stripe_payments.sync.fetch import Unit, units_owned_by
from stripe_payments.sync.raw_fields import metadata, reference, subscription_details
from ubus_py import ConnectionLost, Table

__all__ = ["Account", "Accounts"]

_WAIT_S: Final = 20.0
"""How long a router's request waits for another one of the same account; a router gives up after 30 s."""
_QUEUED: Final = 5
"""Requests of one account in this process, the one that is served among them; one more is refused at once."""
_SLOT_S: Final = 5.0
"""How long a request waits where this process has no connection left."""
_QUEUED_RETRY_S: Final = 2
_FULL_RETRY_S: Final = 5


@dataclass(frozen=True, slots=True)
class Account:
    """What the methods of `stripe_payments.bus_api` need of `Parts`, for one account."""

    id: str
    ledger: AccountLedger
    identity: IdentityStore
    settings: Callable[[], Settings]
    stripe: StripeAPI
    clock: TrustedClock
    reconciler: Reconciler
    poller: Poller
    checkout: billing.CheckoutService
    payment_status: billing.PaymentStatusService
    history: billing.History
    refunds: billing.RefundService
    subscriptions: billing.SubscriptionService
    portal: billing.PortalService
    grants: billing.GrantService


class _AccountIdentity(IdentityStore):
    """The account's id and customer, in its row."""

    def __init__(self, ledger: AccountLedger, identity: Identity) -> None:
        self._ledger = ledger
        self._loaded = identity

    def _write(self, identity: Identity) -> Identity:
        self._ledger.run(lambda tx: tx.set_customer(identity.customer), writes=True)
        return identity


@dataclass(slots=True)
class _Queue:
    """Requests of one account in this process. `waiting` counts the one that is served as well."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class _NoBus:
    """The hub has no router's host name: return URLs come from the router."""

    async def call(
        self,
        object: str,  # noqa: A002 - as the protocol has it
        method: str,
        args: None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        raise ConnectionLost


class Accounts:
    """All accounts. `catalogs.current` has to be awaited before `open`, so that the settings are there."""

    def __init__(
        self, database: Database, stripe: StripeAPI, clock: TrustedClock, catalogs: Catalogs
    ) -> None:
        self._database = database
        self._stripe = stripe
        self._clock = clock
        self._catalogs = catalogs
        self._prices = billing.PriceIds(stripe, catalogs.settings)
        """Shared: a price that was verified for one buyer is verified for all."""
        self._slots = asyncio.Semaphore(OPEN_AT_ONCE)
        self._views = asyncio.Semaphore(VIEWED_AT_ONCE)
        self._polls = asyncio.Semaphore(VIEWED_AT_ONCE - 1)
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def open(self, account: str, *, wait: bool = True) -> AsyncIterator[Account | None]:
        """The account, locked. `wait` false: None if another request holds the lock or this process is full;
        else HubError ``busy`` where it takes too long.
        """
        async with self._turn(account, wait=wait) as turn:
            connection = await self._locked(account, wait=wait) if turn else None
            if connection is None:
                yield None
                return
            try:
                ledger = AccountLedger(connection, account)
                try:
                    opened = await self._account(ledger, account)
                    try:
                        yield opened
                        await opened.checkout.expired()  # else both pages could be paid
                    finally:
                        await opened.checkout.close()
                        await opened.subscriptions.close()
                finally:
                    await asyncio.to_thread(ledger.wait_until_idle)
            finally:
                await self._database.in_thread(self._release, connection, account)

    @asynccontextmanager
    async def view(self, account: str, *, poll: bool = False) -> AsyncIterator[Account]:
        """The account without its lock, to read from; `poll`: no buyer waits for it, and one place is left to
        others. Raises HubError ``busy``.
        """
        async with AsyncExitStack() as places:
            for place in (self._polls, self._views) if poll else (self._views,):
                if not await _acquired(place, _SLOT_S):
                    raise HubError("busy", retry_after=_FULL_RETRY_S)
                places.callback(place.release)
            connection = await self._database.in_thread(self.connection, undo=self._database.accounts.putconn)
            ledger = AccountLedger(connection, account)
            try:
                yield await self._account(ledger, account)
            finally:
                await asyncio.to_thread(ledger.wait_until_idle)
                await self._database.in_thread(self._database.accounts.putconn, connection)

    @asynccontextmanager
    async def _turn(self, account: str, *, wait: bool) -> AsyncIterator[bool]:
        """This process's turn for an account, and one of its connections. Requests of one account wait here
        for each other, without a connection: a router that sends many at the same time takes one.
        """
        queue = self._queues.setdefault(account, _Queue())
        if queue.waiting >= _QUEUED if wait else queue.lock.locked() or self._slots.locked():
            self._forget(account, queue)
            if wait:
                raise HubError("busy", retry_after=_QUEUED_RETRY_S)
            yield False
            return
        queue.waiting += 1
        try:
            if not await _acquired(queue.lock, _WAIT_S):
                raise HubError("busy", retry_after=_QUEUED_RETRY_S)
            try:
                if not await _acquired(self._slots, _SLOT_S):
                    raise HubError("busy", retry_after=_FULL_RETRY_S)
                try:
                    yield True
                finally:
                    self._slots.release()
            finally:
                queue.lock.release()
        finally:
            queue.waiting -= 1
            self._forget(account, queue)

    def _forget(self, account: str, queue: _Queue) -> None:
        if not queue.waiting:
            self._queues.pop(account, None)

    async def _locked(self, account: str, *, wait: bool) -> psycopg.Connection[Any] | None:
        """A connection that holds the account's lock across all instances."""

        def lock() -> psycopg.Connection[Any] | None:
            connection = self.connection()
            try:
                if _lock(connection, account, wait=wait):
                    return connection
            except BaseException:
                self._database.accounts.putconn(connection)
                raise
            self._database.accounts.putconn(connection)
            return None

        def undo(connection: psycopg.Connection[Any] | None) -> None:
            if connection is not None:
                self._release(connection, account)

        return await self._database.in_thread(lock, undo=undo)

    def _release(self, connection: psycopg.Connection[Any], account: str) -> None:
        """What was done stays done where the database is lost only now: the lock ends with the connection."""
        try:
            _unlock(connection, account)
        except psycopg.Error:
            connection.close()
        finally:
            self._database.accounts.putconn(connection)

    async def owner_of(self, units: Iterable[Unit]) -> str | None:
        """The account that fetched objects belong to; None if no account here has them."""
        for unit in units:
            marked = _router_id_in(unit)
            customer = reference(unit.root.get("customer"))
            found = await self.find(marked, customer, None)
            if found is not None and units_owned_by(found, customer, [unit]):
                return found
        return None

    async def find(self, owner: str | None, customer: str | None, object_id: str | None) -> str | None:
        """The account of that id, of that customer, or that has stored that object; the first that exists."""
        async with self._database.requests.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('hub.account', '*', true)")
            cursor = await connection.execute(
                "SELECT id FROM accounts WHERE id = %(owner)s"
                " UNION ALL SELECT id FROM accounts WHERE %(owner)s::text IS NULL AND customer = %(customer)s"
                " UNION ALL SELECT account FROM objects WHERE id = %(object)s LIMIT 1",
                {"owner": owner, "customer": customer, "object": object_id},
            )
            row = await cursor.fetchone()
        return str(row[0]) if row is not None else None

    def reconciler(self, ledger: AccountLedger, identity: Identity) -> Reconciler:
        """The payment rules by themselves, not loaded yet, on a ledger that the caller has locked."""
        store = _AccountIdentity(ledger, identity)
        return Reconciler(ledger, self._stripe, self._clock, self._catalogs.settings, store, lambda _: None)

    def connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        """To be given back to `Database.accounts`, in a thread. Raises HubError ``busy``."""
        try:
            connection: psycopg.Connection[tuple[Any, ...]] = self._database.accounts.getconn()
        except PoolTimeout as error:
            raise HubError("busy", retry_after=_FULL_RETRY_S) from error
        return connection

    async def _account(self, ledger: AccountLedger, account: str) -> Account:
        settings, stripe, clock = self._catalogs.settings, self._stripe, self._clock
        identity = _AccountIdentity(ledger, await ledger.read(lambda tx: tx.identity()))
        reconciler = Reconciler(ledger, stripe, clock, settings, identity, lambda _: None)
        await reconciler.load()
        customers = billing.CustomerService(stripe, identity)
        return_urls = billing.ReturnUrls(_NoBus(), settings)
        wakeup = asyncio.Event()
        checkout = billing.CheckoutService(
            ledger, stripe, reconciler, settings, clock, customers, self._prices, return_urls, wakeup
        )
        poller = Poller(
            ledger, reconciler, stripe, settings, identity, clock, wakeup=wakeup, withdraw=checkout.withdraw
        )
        return Account(
            id=account,
            ledger=ledger,
            identity=identity,
            settings=settings,
            stripe=stripe,
            clock=clock,
            reconciler=reconciler,
            poller=poller,
            checkout=checkout,
            payment_status=billing.PaymentStatusService(ledger, poller, reconciler, settings),
            history=billing.History(reconciler, settings),
            refunds=billing.RefundService(ledger, stripe, reconciler),
            subscriptions=billing.SubscriptionService(stripe, reconciler, settings, clock, self._prices),
            portal=billing.PortalService(ledger, stripe, identity, customers, return_urls),
            grants=billing.GrantService(ledger, reconciler, settings, clock),
        )


async def _acquired(lock: asyncio.Lock | asyncio.Semaphore, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await lock.acquire()
    except TimeoutError:
        return False


def _lock(connection: psycopg.Connection[Any], account: str, *, wait: bool) -> bool:
    if not wait:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (account,)
        ).fetchone()
        return bool(row and row[0])
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{_WAIT_S:.0f}s",))
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (account,))
    except psycopg.errors.LockNotAvailable as error:
        raise HubError("busy", retry_after=_QUEUED_RETRY_S) from error
    except psycopg.OperationalError as error:
        raise PaymentError("ledger_unavailable", reason=type(error).__name__) from error
    return True


def _unlock(connection: psycopg.Connection[Any], account: str) -> None:
    """A connection that is lost has lost its lock, too."""
    if not connection.closed:
        connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (account,))


def _router_id_in(unit: Unit) -> str | None:
    """The owner that the object itself names, as `units_owned_by` reads it."""
    marked = metadata(unit.root).get("router_id") or metadata(subscription_details(unit.root)).get(
        "router_id"
    )
    if not marked and unit.root.get("object") == "checkout.session":
        marked = unit.root.get("client_reference_id")
    return marked if isinstance(marked, str) and marked else None
