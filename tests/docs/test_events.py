"""docs/events.md lists exactly the events that the code knows, and what they name, in both languages."""

import pytest

from stripe_payments.sync.events import EVENTS
from stripe_payments.sync.fetch import FOLLOWED
from tests.docs.markdown import rows_of


@pytest.mark.parametrize("document", ["events.md", "events.it.md"])
def test_the_table_is_that_of_the_code(document: str) -> None:
    rows = rows_of(document)
    assert [(event, kind) for event, kind, _, _ in rows] == [
        (f"`{event}`", f"`{kind}`") for event, kind in EVENTS.items()
    ]
    assert all(all(cells) for cells in rows)


def test_every_event_leads_to_something_that_is_followed() -> None:
    assert set(EVENTS.values()) <= FOLLOWED
    assert list(EVENTS) == sorted(EVENTS)


def test_the_events_of_the_guide_are_among_them() -> None:
    guide = {
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
    }
    assert guide <= EVENTS.keys()
