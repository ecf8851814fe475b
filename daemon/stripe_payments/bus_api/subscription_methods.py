"""The methods about subscriptions and an administrator's grants; `table` says how they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stripe_payments.bus_api.binding import Handler, Question, Reply


async def subscriptions(question: Question) -> Reply:
    """The subscriptions of this router, running and ended: `subscriptions[]`; see `subscription_view` for
    what each has.
    """
    return {"subscriptions": await question.parts.subscriptions.list(question.locale)}


async def preview_change(question: Question) -> Reply:
    """What changing a `subscription` to the price `price_id` (an alias of the catalogue, or Stripe's id)
    costs: `amount_due`, `proration`, `credit`, …; see `SubscriptionService.preview_change`.
    """
    args = question.args
    return await question.parts.subscriptions.preview_change(
        args.text("subscription", required=True), args.text("price_id", required=True)
    )


async def change_plan(question: Question) -> Reply:
    """Change a `subscription` to the price `price_id`, for the amount previewed: the subscription."""
    args = question.args
    return await question.parts.subscriptions.change_plan(
        args.text("subscription", required=True), args.text("price_id", required=True), question.locale
    )


async def cancel_subscription(question: Question) -> Reply:
    """End a `subscription` with its period, or at once if `at_period_end` is false: the subscription."""
    args = question.args
    return await question.parts.subscriptions.cancel(
        args.text("subscription", required=True),
        at_period_end=args.flag("at_period_end", default=True),
        locale=question.locale,
    )


async def resume_subscription(question: Question) -> Reply:
    """Take the cancellation of a `subscription` back, or end its pause: the subscription."""
    return await question.parts.subscriptions.resume(
        question.args.text("subscription", required=True), question.locale
    )


async def portal(question: Question) -> Reply:
    """The `url` of Stripe's page with invoices and ways to pay; from there the person comes back to
    `return_url`.
    """
    return await question.parts.portal.open(question.args.text("return_url"), question.locale)


async def grants(question: Question) -> Reply:
    """What an administrator unlocked by hand: `grants[] {feature, until, note, granted_at}`."""
    return {"grants": await question.parts.grants.list()}


async def grant(question: Question) -> Reply:
    """Unlock a `feature` by hand, for ever or `until` a time (RFC 3339, UTC), with a `note`: the grant."""
    args = question.args
    return await question.parts.grants.grant(
        args.text("feature", required=True), args.text("until"), args.text("note")
    )


async def revoke(question: Question) -> Reply:
    """Take the grant of a `feature` back: `feature`, `revoked` (false if there was none)."""
    return await question.parts.grants.revoke(question.args.text("feature", required=True))


HANDLERS: Final[Mapping[str, Handler]] = {
    "subscriptions": subscriptions,
    "preview_change": preview_change,
    "change_plan": change_plan,
    "cancel_subscription": cancel_subscription,
    "resume_subscription": resume_subscription,
    "portal": portal,
    "grants": grants,
    "grant": grant,
    "revoke": revoke,
}
