"""Of what is over the ledger gives no more than entitlements need, and they come out the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.entitlements import Entitlement, Purchase, Subscription, entitlements
from stripe_payments.ledger import Ledger, Transaction
from stripe_payments.ledger.bought import Purchases, Subscriptions
from stripe_payments.ledger.schema import migrate
from tests.unit.stripe_payments.entitlements.catalogue_and_histories import (
    NOW,
    SETTINGS,
    purchases,
    subscriptions,
    times,
)

_many_subscriptions = st.lists(subscriptions, max_size=12)
_many_purchases = st.lists(purchases, max_size=12)


@contextmanager
def tables(
    bought: list[Purchase], subscribed: list[Subscription]
) -> Iterator[tuple[Purchases, Subscriptions]]:
    """Each with an id of its own."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        purchases, subscriptions = Purchases(connection), Subscriptions(connection)
        for number, purchase in enumerate(bought):
            purchases.put(_numbered(purchase, number))
        for number, subscription in enumerate(subscribed):
            subscriptions.put(_renumbered(subscription, number))
        yield purchases, subscriptions


def _numbered(purchase: Purchase, number: int) -> Purchase:
    fields = {name: getattr(purchase, name) for name in purchase.__slots__}
    return Purchase(**fields | {"id": f"cs_{number:02}"})


def _renumbered(subscription: Subscription, number: int) -> Subscription:
    fields = {name: getattr(subscription, name) for name in subscription.__slots__}
    return Subscription(**fields | {"id": f"sub_{number:02}"})


@given(_many_purchases, _many_subscriptions, _many_purchases, _many_subscriptions, times, times)
def test_entitlements_are_those_of_everything(
    bought: list[Purchase],
    subscribed: list[Subscription],
    bought_before: list[Purchase],
    subscribed_before: list[Subscription],
    now: int | None,
    contact: int | None,
) -> None:
    def decide(
        of: tuple[list[Subscription], list[Purchase]], previous: dict[str, Entitlement]
    ) -> dict[str, Entitlement]:
        return entitlements(*of, SETTINGS, now, last_contact=contact, previous=previous)

    with tables(bought_before, subscribed_before) as (purchases, subscriptions):
        before = decide((subscriptions.all(), purchases.all()), {})
    with tables(bought, subscribed) as (purchases, subscriptions):
        sources = {held.source for held in before.values()}
        needed = (subscriptions.deciding(sources), purchases.deciding(sources))
        assert decide(needed, before) == decide((subscriptions.all(), purchases.all()), before)
        over = {"canceled", "incomplete_expired"}
        assert subscriptions.standing() == [s for s in subscriptions.all() if s.status not in over]


async def test_a_thousand_that_are_over_are_as_many_as_their_kinds(ledger: Ledger) -> None:
    def put(tx: Transaction) -> None:
        for number in range(1000):
            tx.purchases.put(
                Purchase(
                    f"cs_{number:03}", f"price_{number % 2}", paid=True, fully_refunded=True, paid_at=NOW
                )
            )
            tx.subscriptions.put(Subscription(f"sub_{number:03}", "canceled", f"price_{number % 3}"))
        tx.purchases.put(Purchase("cs_paid", "price_0", paid=True))
        tx.purchases.put(Purchase("cs_lost", "price_0", paid=True, dispute="lost"))
        tx.purchases.put(Purchase("cs_pending", "price_0"))
        tx.subscriptions.put(Subscription("sub_runs", "past_due", "price_0"))

    await ledger.write(put)
    bought = await ledger.read(lambda tx: [held.id for held in tx.purchases.deciding({"cs_077", ""})])
    assert bought == ["cs_000", "cs_001", "cs_077", "cs_lost", "cs_paid", "cs_pending"]
    subscribed = await ledger.read(lambda tx: [held.id for held in tx.subscriptions.deciding()])
    assert subscribed == ["sub_000", "sub_001", "sub_002", "sub_runs"]
    assert [held.id for held in await ledger.read(lambda tx: tx.subscriptions.standing())] == ["sub_runs"]


async def test_nothing_bought_decides_nothing(ledger: Ledger) -> None:
    assert await ledger.read(lambda tx: (tx.purchases.deciding(), tx.subscriptions.deciding())) == ([], [])
    assert not await ledger.read(lambda tx: tx.subscriptions.any())
    assert await ledger.read(lambda tx: tx.purchases.disputes([])) == {}


async def test_the_disputes_of_some(ledger: Ledger) -> None:
    def put(tx: Transaction) -> None:
        tx.purchases.put(Purchase("cs_1", "price_0", paid=True, dispute="open"))
        tx.purchases.put(Purchase("cs_2", "price_0", paid=True))

    await ledger.write(put)
    known = await ledger.read(lambda tx: tx.purchases.disputes(["cs_1", "cs_2", "cs_3"]))
    assert known == {"cs_1": "open", "cs_2": None}
