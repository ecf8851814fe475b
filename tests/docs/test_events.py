"""docs/events.md lists exactly the events that the code knows, in both languages."""

import pytest

from stripe_payments.sync.events import EVENTS, Event
from stripe_payments.sync.fetch import FOLLOWED
from tests.docs.markdown import DOCS, table

HEADERS = {
    "en": ("Event", "Names", "What is fetched", "What has happened"),
    "it": ("Evento", "Indica", "Che cosa viene letto", "Che cosa è successo"),
}
FILES = {"en": "events.md", "it": "events.it.md"}


def row(event: Event, locale: str) -> tuple[str, ...]:
    fetched = " | ".join(f"`{name}`" for name in event.leads_to.split(" | "))
    separator = " or " if locale == "en" else " o "
    return (
        f"`{event.type}`",
        f"`{event.kind}`",
        fetched.replace(" | ", separator),
        event.meaning.in_locale(locale),
    )


@pytest.mark.parametrize("locale", ["en", "it"])
def test_the_table_is_that_of_the_code(locale: str) -> None:
    wanted = table(HEADERS[locale], [row(event, locale) for event in EVENTS])
    assert wanted in (DOCS / FILES[locale]).read_text("utf-8"), f"the table should read:\n{wanted}"


def test_every_event_leads_to_something_that_is_followed() -> None:
    assert {event.kind for event in EVENTS} <= FOLLOWED
    assert [event.type for event in EVENTS] == sorted({event.type for event in EVENTS})


def test_the_events_of_the_guide_are_among_them() -> None:
    guide = {
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
    }
    assert guide <= {event.type for event in EVENTS}
