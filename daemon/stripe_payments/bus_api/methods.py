"""What each method of the object `stripe-payments` does; `table` says how it is called. Those about
subscriptions are in `subscription_methods`.

Every method takes `locale` (`en` or `it`) for the words in its answer, the settings' language otherwise.
Errors carry `{"error": {"code", "message", "hint"}}`. Times are RFC 3339 in UTC, money is in minor
units.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from stripe_payments import __version__
from stripe_payments.billing import catalog_view
from stripe_payments.billing.eligibility import read_ownership
from stripe_payments.billing.history import MAX_LIMIT
from stripe_payments.bus_api import subscription_methods
from stripe_payments.bus_api.binding import Handler, Question, Reply
from stripe_payments.entitlements import Entitlement
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import Transaction
from stripe_payments.log import Log, redact
from stripe_payments.rfc3339 import format_time
from stripe_payments.sync.mode_change import settle_mode

_log = Log("bus")

_LARGEST_AMOUNT: Final = 99_999_999


async def status(question: Question) -> Reply:
    """How things stand: `version`, `mode` (test, live, unconfigured), `enabled`, `phone_return_url`
    (where a phone off the LAN can come back to, or null), `router_id`, `customer`, `stripe` (ok,
    unreachable, unauthorized, unconfigured, unknown) with `stripe_since` and `stripe_detail`,
    `last_sync`, `clock` (trusted, untrusted) and `now`, `webhook` (configured, unconfigured), `keys
    {secret_key, publishable_key, webhook_secret}` (what kind, and the last four characters: `sk_test_…abcd`;
    null where there is none), `pending {checkouts, events, effects}`.
    """
    parts = question.parts
    keys, identity, stripe = parts.keys.current(), parts.identity.load(), parts.stripe.state

    def waiting(tx: Transaction) -> dict[str, int]:
        return {
            "checkouts": len(tx.checkouts.open()),
            "events": tx.inbox.pending_count(),
            "effects": tx.outbox.pending_count(),
        }

    now = parts.clock.now()
    return {
        "version": __version__,
        "mode": keys.mode,
        "enabled": parts.settings().enabled,
        "phone_return_url": parts.settings().phone_return_url or parts.settings().public_url,
        "router_id": identity.router_id,
        "customer": identity.customer,
        "stripe": stripe.status,
        "stripe_since": _time(stripe.since),
        "stripe_detail": stripe.detail,
        "last_sync": _time(parts.reconciler.last_sync),
        "clock": "trusted" if now is not None else "untrusted",
        "now": _time(now),
        "webhook": "configured" if keys.webhook_secret else "unconfigured",
        "keys": {
            name: redact(key) if key is not None else None
            for name, key in (
                ("secret_key", keys.secret_key),
                ("publishable_key", keys.publishable_key),
                ("webhook_secret", keys.webhook_secret),
            )
        },
        "pending": await parts.ledger.read(waiting),
    }


async def catalog(question: Question) -> Reply:
    """What is on sale, with titles in the reader's language: `plans`, `products`, `features`; see
    `catalog_view`.
    """
    parts = question.parts
    holdings = await parts.ledger.read(read_ownership)
    return catalog_view(parts.settings(), holdings, question.locale)


async def features(question: Question) -> Reply:
    """Every feature: `features {NAME: {unlocked, source, plan, until, reason}}`; from memory, waits for
    nothing.
    """
    return {"features": {name: _feature(held) for name, held in question.parts.features.current.items()}}


async def has(question: Question) -> Reply:
    """Whether a feature is unlocked; from memory, waits for nothing.

    A feature that is configured but was never bought is locked, and so is one that was dropped from the
    catalogue without ever having been unlocked here. Only a name that neither the settings nor the
    ledger know is `unknown_feature`: a package that asks under a misspelt name would otherwise stay
    locked without anybody ever finding out why.
    """
    name = question.args.text("feature", required=True)
    held = question.parts.features.current.get(name)
    if held is None and name not in question.parts.settings().features:
        raise PaymentError("unknown_feature", feature=name)
    return {"unlocked": held is not None and held.unlocked}


async def list_transactions(question: Question) -> Reply:
    """Payments, refunds and disputes, newest first: at most `limit` (20; up to 100) `transactions`, and
    `next`, which as `before` continues the list; null at its end.
    """
    limit = question.args.integer("limit", minimum=1, maximum=MAX_LIMIT)
    before = question.args.text("before")
    return await question.parts.history.page(limit, before, question.locale)


async def payment_status(question: Question) -> Reply:
    """How a payment stands (`status`, `amount`, `currency`, `payment_date`, …), by the id of anything
    that belongs to it: checkout session, payment intent, invoice, subscription or charge.
    """
    return await question.parts.payment_status.show(
        question.args.text("payment_id", required=True), question.locale
    )


async def create_checkout_session(question: Question) -> Reply:
    """Start a purchase: `session_id`, and `checkout_url` to send the buyer to. `price_id` is an alias of
    the catalogue or Stripe's id; the return addresses may be any http(s) ones, for whoever may call this
    is trusted with them.
    """
    args = question.args
    return await question.parts.checkout.create(
        args.text("price_id", required=True),
        success_url=args.text("success_url"),
        cancel_url=args.text("cancel_url"),
        locale=args.text("locale"),
        origin=None,
    )


async def sync(question: Question) -> Reply:
    """Ask Stripe about everything now: `changed` (the names of the features whose state changed) and
    `last_sync`. `background`: nobody waits, and whole streets may call at the same moment (the way to the
    internet is back); Stripe is asked when it suits, and the answer comes at once.
    """
    parts = question.parts
    before = parts.features.current
    if question.args.flag("background"):
        parts.poller.poll_soon("sync in the background")
        return {"changed": [], "last_sync": _time(parts.reconciler.last_sync)}
    await parts.poller.poll_everything()
    await parts.features.refresh()
    after = parts.features.current
    changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return {"changed": changed, "last_sync": _time(parts.reconciler.last_sync)}


async def refund(question: Question) -> Reply:
    """Give money back for a payment: all that is left of it, or `amount` in minor units. `reason`: duplicate,
    fraudulent or requested_by_customer."""
    amount = question.args.integer("amount", minimum=1, maximum=_LARGEST_AMOUNT)
    reason = question.args.text("reason")
    return await question.parts.refunds.refund(
        question.args.text("payment_id", required=True), amount, reason
    )


async def check(question: Question) -> Reply:
    """What may be wrong, and what to do about it: `checks[] {id, ok, severity (ok, info, warning, error),
    detail, hint}`; answered also without keys, without network and while the ledger cannot be opened.
    """
    return {"checks": await question.diagnostics.run(question.locale)}


async def provision(question: Question) -> Reply:
    """Create at Stripe what the configuration sells and is missing there, and store the price ids; see
    `Provisioner.provision`. `dry_run` only says what would be done; `replace` makes new prices in place of
    those that differ from the configuration.
    """
    args = question.args
    return await question.parts.provisioner.provision(
        dry_run=args.flag("dry_run"), replace=args.flag("replace"), locale=question.locale
    )


async def setup_webhook(question: Question) -> Reply:
    """Have Stripe send this router's events to `url`; see `WebhookSetup.set_up`. The secret is stored and not
    told. `replace` takes an address over that is registered for another router.
    """
    args = question.args
    return await question.parts.webhook_setup.set_up(
        args.text("url", required=True), replace=args.flag("replace"), locale=question.locale
    )


async def set_keys(question: Question) -> Reply:
    """Store Stripe's keys (one that is not given stays, an empty one is removed); answers the `mode`
    they work in. A secret key of another mode or account is a new beginning at Stripe: see `settle_mode`.
    """
    args, parts = question.args, question.parts
    before = parts.keys.current()
    names = ("secret_key", "webhook_secret", "publishable_key")
    given = {name: args.text(name, trimmed=True) for name in names}
    keys = await asyncio.to_thread(lambda: parts.keys.store(**given))
    _log.info("the keys were changed", mode=keys.mode)
    if keys.secret_key != before.secret_key:
        await parts.checkout.keys_changed()
        await settle_mode(keys.mode, parts.ledger, parts.identity, parts.reconciler)
        if keys.secret_key:
            parts.poller.account_changed()
    return {"mode": keys.mode}


def _feature(held: Entitlement) -> dict[str, str | bool | None]:
    return {
        "unlocked": held.unlocked,
        "source": held.source,
        "plan": held.plan,
        "until": _time(held.until),
        "reason": held.reason,
    }


def _time(epoch: int | None) -> str | None:
    return None if epoch is None else format_time(epoch)


HANDLERS: Final[Mapping[str, Handler]] = {
    **subscription_methods.HANDLERS,
    "status": status,
    "catalog": catalog,
    "features": features,
    "has": has,
    "transactions": list_transactions,
    "payment_status": payment_status,
    "create_checkout_session": create_checkout_session,
    "sync": sync,
    "refund": refund,
    "check": check,
    "provision": provision,
    "setup_webhook": setup_webhook,
    "set_keys": set_keys,
}
