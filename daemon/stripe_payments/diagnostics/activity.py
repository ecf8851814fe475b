"""Checks of the current state: polling, subscriptions and failed payments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from stripe_payments.billing.declines import failure
from stripe_payments.billing.eligibility import LIVING, read_ownership
from stripe_payments.diagnostics.finding import NO_KEY, STARTING, Finding, ago
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.entitlements import announced_end
from stripe_payments.i18n import Text, _, joined
from stripe_payments.rfc3339 import format_time
from stripe_payments.sync.poll_timing import usual_interval

if TYPE_CHECKING:
    from stripe_payments.entitlements import Subscription
    from stripe_payments.settings import Settings

DAY_S: Final = 86_400
RECENT_DAYS: Final = 30
SHOWN: Final = 5
NEWEST_PAYMENTS: Final = 100
"""More than a household makes in RECENT_DAYS."""
UNSEEN_FOR_S: Final = DAY_S
"""Every subscription is polled several times a day."""


async def polling(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    if situation.keys.current().secret_key is None:
        return NO_KEY
    last = situation.last_sync
    hint = _(
        "Check now on My features, or run: ubus call stripe-payments sync. The check of Stripe shows whether "
        "it can be reached."
    )
    if last is None:
        return Finding(
            "info",
            _("Stripe has not been polled yet."),
            hint,
        )
    age = max(0, situation.now - last)
    when = format_time(last)
    customer = (await probes.in_thread(situation.identity.load)).customer is not None
    if age > 3 * usual_interval(situation.settings.poll_interval, customer=customer) + 600:
        days = situation.settings.offline_days
        return Finding(
            "warning",
            _("Last successful poll: {when} ({ago}).", when=when, ago=ago(age)),
            _("{hint} Features stay unlocked for {days} days past their period.", hint=hint, days=days),
        )
    return Finding("ok", _("Last successful poll: {when} ({ago}).", when=when, ago=ago(age)))


def _titled(one: Subscription, settings: Settings) -> object:
    """The title of its plan, as buyers see it; a plan that is no longer configured has a name or an id."""
    sold = settings.sellable(one.plan) if one.plan else None
    return sold.titles if sold is not None else one.plan or one.price_id


def _named(held: Iterable[Subscription], settings: Settings) -> Text:
    return joined(
        Text("“{title}” ({id})", (("title", _titled(one, settings)), ("id", one.id))) for one in held
    )


async def subscriptions(probes: Probes) -> Finding:
    """One that Stripe does not show, and that keeps others from being sold. Or more than one that is charged:
    two pages were paid, or one was made in the Dashboard.
    """
    state = probes.situation.state
    if state is None:
        return STARTING
    unseen = [
        one for one in read_ownership(state).living() if probes.situation.unseen_s(one.id) > UNSEEN_FOR_S
    ]
    if unseen:
        return Finding(
            "warning",
            _(
                "Stripe no longer shows these subscriptions: {names}. No other plan is sold meanwhile.",
                names=_named(unseen, probes.situation.settings),
            ),
            _(
                "If the keys were changed, they are another account's: they are charged there until they are "
                "canceled in its Dashboard. Their features lock {days} days after the end of the period that "
                "was paid; from then on a plan can be bought here.",
                days=probes.situation.settings.offline_days,
            ),
        )
    charged = [one for one in state.running if one.status in LIVING and announced_end(one) is None]
    if len(charged) < 2:
        return Finding("ok", _("Subscriptions that are charged: {count}.", count=len(charged)))
    names = _named(charged, probes.situation.settings)
    return Finding(
        "warning",
        _("Several subscriptions are charged: {names}.", names=names),
        _(
            "Cancel those that are not needed on My features, or run: ubus call stripe-payments "
            'cancel_subscription \'{"subscription":"sub_…"}\'. Their payments can be refunded under '
            "Transactions."
        ),
    )


async def payments(probes: Probes) -> Finding:
    """Recent failed payments with their reasons, and unpaid renewals."""
    situation = probes.situation
    state = situation.state
    if state is None:
        return STARTING
    since = situation.now - RECENT_DAYS * DAY_S

    failed = [
        (intent, error)
        for intent in list(state.parsed.intents.values())[:NEWEST_PAYMENTS]
        if intent.status not in ("succeeded", "processing")
        and (error := intent.last_payment_error) is not None
        and intent.created >= since
    ][:SHOWN]
    unpaid = [
        _titled(one, situation.settings) for one in state.running if one.status in ("past_due", "unpaid")
    ]
    if not failed and not unpaid:
        return Finding("ok", _("No failed payments in {recent_days} days.", recent_days=RECENT_DAYS))
    failures: list[Text] = []
    hints: list[Text] = []
    for intent, error in failed:
        cause = failure(error.code, error.decline_code)
        when = format_time(intent.created)
        code = cause.decline_code or cause.code
        failures.append(Text(f"{when} {code} ({intent.id})"))
        if cause.message not in hints:
            hints.append(cause.message)
    failures += [_("renewal of “{name}” unpaid", name=name) for name in unpaid]
    if unpaid:
        hints.append(_("Update the payment method under Invoices and payment methods."))
    return Finding(
        "warning",
        _("Failed payments: {failures}.", failures=joined(failures)),
        joined(hints, " "),
    )
