"""The events of Stripe that mean something to us: one table.

None of them carries state. Each says that an object has changed, and that object is fetched and applied by
`sync`; so old payload shapes, other API versions, duplicates and any order make no difference. What is not
in the table is answered 200, logged, and has no effect. `entitlements.*` is left out on purpose: what a
price unlocks is decided by this router's own catalogue. Stripe's list:
https://docs.stripe.com/api/events/types
"""

from dataclasses import dataclass
from typing import Final

from stripe_payments.i18n import Text

__all__ = ["EVENTS", "EVENT_TYPES", "Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """`kind`: the resource that it names; `leads_to`: what is fetched for it; `tells`: what has happened."""

    type: str
    kind: str
    leads_to: str
    tells: Text


_SESSION: Final = "checkout.session"
_OF_PAYMENT: Final = "checkout.session | invoice"

EVENTS: Final = (
    Event(
        "charge.dispute.closed",
        "dispute",
        _OF_PAYMENT,
        Text("a dispute was won or lost", "una contestazione è stata vinta o persa"),
    ),
    Event(
        "charge.dispute.created",
        "dispute",
        _OF_PAYMENT,
        Text("the buyer's bank disputes a payment", "la banca dell'acquirente contesta un pagamento"),
    ),
    Event(
        "charge.refunded",
        "charge",
        _OF_PAYMENT,
        Text("money was given back, wholly or in part", "un rimborso, totale o parziale"),
    ),
    Event(
        "checkout.session.async_payment_failed",
        _SESSION,
        _SESSION,
        Text("a bank debit did not succeed", "un addebito bancario non è riuscito"),
    ),
    Event(
        "checkout.session.async_payment_succeeded",
        _SESSION,
        _SESSION,
        Text("a bank debit has arrived", "un addebito bancario è andato a buon fine"),
    ),
    Event(
        "checkout.session.completed",
        _SESSION,
        _SESSION,
        Text(
            "the buyer finished Stripe's page; a bank debit may still be on its way",
            "l'acquirente ha completato la pagina di Stripe; un addebito bancario può essere ancora in corso",
        ),
    ),
    Event(
        "checkout.session.expired",
        _SESSION,
        _SESSION,
        Text("nobody paid in time", "nessuno ha pagato in tempo"),
    ),
    Event(
        "customer.subscription.created",
        "subscription",
        "subscription",
        Text("a subscription began", "un abbonamento è iniziato"),
    ),
    Event(
        "customer.subscription.deleted",
        "subscription",
        "subscription",
        Text("a subscription ended", "un abbonamento è terminato"),
    ),
    Event(
        "customer.subscription.paused",
        "subscription",
        "subscription",
        Text("a subscription was paused", "un abbonamento è stato messo in pausa"),
    ),
    Event(
        "customer.subscription.resumed",
        "subscription",
        "subscription",
        Text("a pause has ended", "una pausa è terminata"),
    ),
    Event(
        "customer.subscription.trial_will_end",
        "subscription",
        "subscription",
        Text("a trial ends in three days", "una prova termina fra tre giorni"),
    ),
    Event(
        "customer.subscription.updated",
        "subscription",
        "subscription",
        Text(
            "renewed, changed plan, cancelled, fell behind, recovered",
            "rinnovo, cambio di piano, disdetta, pagamento in ritardo o recuperato",
        ),
    ),
    Event(
        "invoice.paid",
        "invoice",
        "invoice | subscription",
        Text("an invoice was paid", "una fattura è stata pagata"),
    ),
    Event(
        "invoice.payment_action_required",
        "invoice",
        "invoice | subscription",
        Text(
            "the bank wants the buyer to confirm a renewal (3-D Secure)",
            "la banca chiede all'acquirente di confermare un rinnovo (3-D Secure)",
        ),
    ),
    Event(
        "invoice.payment_failed",
        "invoice",
        "invoice | subscription",
        Text("a renewal could not be charged", "un rinnovo non è stato addebitato"),
    ),
    Event(
        "payment_intent.payment_failed",
        "payment_intent",
        _OF_PAYMENT,
        Text("a payment was declined", "un pagamento è stato rifiutato"),
    ),
    Event(
        "payment_intent.succeeded",
        "payment_intent",
        _OF_PAYMENT,
        Text("a payment succeeded", "un pagamento è riuscito"),
    ),
)

EVENT_TYPES: Final = frozenset(event.type for event in EVENTS)
