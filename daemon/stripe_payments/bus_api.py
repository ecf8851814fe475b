"""The ubus object `stripe-payments`: one decorated function per method (`bus_method` explains how).

Every method takes `locale` (`en` or `it`) for the sentences in its reply, else the settings' language is
used. Errors carry `{"error": {"code", "message", "hint", "user_hint"}}`. Times are RFC 3339 in UTC, amounts
are in the currency's minor unit.

This module is imported before the object is published, and SQLite and `billing` are not loaded then: a
function that needs them imports them itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Annotated, Final

from stripe_payments import __version__
from stripe_payments.bus_method import ADMIN, BUY, READ, Between, BusCall, MethodTable, Reply, Trimmed
from stripe_payments.currencies import LARGEST_AMOUNT
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log, redact
from stripe_payments.rfc3339 import format_time

if TYPE_CHECKING:
    from stripe_payments.entitlements import Entitlement
    from stripe_payments.ledger import Checkout, SQLiteTransaction

_log = Log("bus")

api: Final = MethodTable("stripe-payments")

Amount = Annotated[int | None, Between(1, LARGEST_AMOUNT)]
PageSize = Annotated[int | None, Between(1, 100)]
Key = Annotated[str | None, Trimmed()]


@api.method(READ)
async def status(call: BusCall) -> Reply:
    """Return the state of the daemon.

    `version`, `mode` (test, live, unconfigured), `enabled`, `managed` (whether the seller's methods are off
    the bus), `seller` (null; in hub mode `{url, name, enrolled, last_contact, problem}`, where problem is an
    error as methods return it, or null), `phone_return_url` (where a phone outside the LAN can return to, or
    null), `contact {name, support_url, terms_url, privacy_url}` of the seller, `router_id`, `customer`,
    `stripe` (ok, unreachable, unauthorized, unconfigured, unknown) with
    `stripe_since` and `stripe_detail`, `last_sync`, `clock` (trusted, untrusted) and `now`, `webhook`
    (configured, unconfigured) with `webhook_url` and `webhook_last_delivery` (null where unknown),
    `keys {secret_key, publishable_key, webhook_secret}` (kind and last four characters, `sk_test_…abcd`, or
    null), `pending {checkouts, events, effects}`, `purchases[] {payment_id, price, state (open, processing),
    url, created}` that are not finished, oldest first. `revision` is another one whenever the catalog, the
    features, the subscriptions or the transactions may have changed.
    """
    from stripe_payments.setup.webhook_endpoint import webhook_state
    from stripe_payments.unfinished_purchases import open_purchases, processing_purchases

    parts = call.parts
    keys, identity, stripe = parts.keys.current(), parts.identity.load(), parts.stripe.state
    now, revision, state = parts.clock.now(), parts.reconciler.revision, parts.reconciler.state

    def pending(tx: SQLiteTransaction) -> tuple[dict[str, int], list[Checkout], dict[str, str | None]]:
        checkouts = tx.checkouts.open()
        counts = {
            "checkouts": len(checkouts),
            "events": tx.inbox.pending_count(),
            "effects": tx.outbox.pending_count(),
        }
        return counts, checkouts, webhook_state(tx, keys.webhook_secret)

    counts, checkouts, webhook = await parts.ledger.read(pending)
    return {
        "version": __version__,
        "mode": keys.mode,
        "enabled": parts.settings().enabled,
        "managed": parts.settings().managed,
        "seller": None,
        "phone_return_url": parts.settings().phone_return_url or parts.settings().public_url,
        "contact": dataclasses.asdict(parts.settings().contact),
        "router_id": identity.router_id,
        "customer": identity.customer,
        "stripe": stripe.status,
        "stripe_since": _time(stripe.since),
        "stripe_detail": stripe.detail,
        "last_sync": _time(parts.reconciler.last_sync),
        "clock": "trusted" if now is not None else "untrusted",
        "now": _time(now),
        "webhook": "configured" if keys.webhook_secret else "unconfigured",
        **webhook,
        "keys": {
            name: redact(key) if key is not None else None
            for name, key in (
                ("secret_key", keys.secret_key),
                ("publishable_key", keys.publishable_key),
                ("webhook_secret", keys.webhook_secret),
            )
        },
        "pending": counts,
        "purchases": processing_purchases(state) + open_purchases(checkouts, now),
        "revision": revision,
    }


@api.method(READ)
async def catalog(call: BusCall) -> Reply:
    """Return what is on sale, titled in the caller's language: `plans`, `products`, `features`.

    `catalog_view` describes their members.
    """
    from stripe_payments.billing import catalog_view, read_ownership
    from stripe_payments.sync import META_REBUILDING

    parts = call.parts
    rebuilding = await parts.ledger.read(lambda tx: tx.meta.get(META_REBUILDING) is not None)
    complete = not rebuilding or parts.identity.load().customer is None
    ownership = read_ownership(parts.reconciler.state)
    return catalog_view(parts.settings(), ownership, call.locale, complete=complete)


@api.method(READ)
async def features(call: BusCall) -> Reply:
    """Return every feature: `features {NAME: {unlocked, source, plan, until, reason, disputed}}`.

    `disputed`: the one-time payment that unlocks it is under dispute. Answered from memory: it waits neither
    for the ledger nor for Stripe.
    """
    state = call.parts.reconciler.state
    return {
        "features": {
            name: {
                **_feature(held),
                "disputed": held.unlocked and state.dispute(held.source) == "open",
            }
            for name, held in state.entitlements.items()
        }
    }


@api.method(READ)
async def has(call: BusCall, *, feature: str) -> Reply:
    """Return whether a feature is `unlocked`; answered from memory, like `features`.

    A configured feature that was never bought is locked, and so is one that was removed from the catalog
    without ever having been unlocked here. Only a name that neither the settings nor the ledger contain is
    `unknown_feature`: a package with a misspelt name would otherwise stay locked without a reason to find.
    """
    held = call.parts.reconciler.state.entitlements.get(feature)
    if held is None and feature not in call.parts.settings().features:
        raise PaymentError("unknown_feature", feature=feature)
    return {"unlocked": held is not None and held.unlocked}


@api.method(READ)
async def subscriptions(call: BusCall, *, preview: bool = False) -> Reply:
    """Return this router's subscriptions, active and ended: `subscriptions[]`, each a `subscription_view`.

    `preview`: `next_payment` is Stripe's own preview, with discounts, balance and tax; what is expected where
    Stripe cannot be reached.
    """
    return {"subscriptions": await call.parts.subscriptions.list(call.locale, preview=preview)}


@api.method(READ)
async def transactions(call: BusCall, *, limit: PageSize = None, before: str | None = None) -> Reply:
    """Return payments, refunds and disputes, newest first: `transactions[]` and `next`.

    `limit`: at most so many, 20 without it; `before`: a `next` of an earlier reply, which is null at the end.
    """
    return await call.parts.history.page(limit, before, call.locale)


@api.method(READ, calls_stripe=True)
async def payment_status(call: BusCall, *, payment_id: str) -> Reply:
    """Return the state of a payment: `status`, `amount`, `currency`, `payment_date`, …

    `payment_id`: of any of its objects: checkout session, payment intent, invoice, subscription, charge.
    """
    return await call.parts.payment_status.show(payment_id, call.locale)


@api.method(BUY, calls_stripe=True)
async def create_checkout_session(
    call: BusCall, *, price_id: str, success_url: str | None = None, cancel_url: str | None = None
) -> Reply:
    """Start a purchase: return `session_id` and `checkout_url`, the page to send the buyer to.

    `price_id`: the catalog's alias or Stripe's id. Any http(s) return URL is accepted: a caller with the
    right to call this method is trusted with it.
    """
    return await call.parts.checkout.create(
        price_id, success_url=success_url, cancel_url=cancel_url, locale=call.requested_locale, origin=None
    )


@api.method(BUY, calls_stripe=True)
async def preview_change(call: BusCall, *, subscription: str, price_id: str) -> Reply:
    """Return what changing a subscription to another price costs: `amount_due`, `proration`, `credit`, …

    `price_id`: the catalog's alias or Stripe's id. `SubscriptionService.preview_change` has the members.
    """
    return await call.parts.subscriptions.preview_change(subscription, price_id)


@api.method(BUY, calls_stripe=True)
async def change_plan(call: BusCall, *, subscription: str, price_id: str) -> Reply:
    """Change a subscription to another price, for the amount previewed. Return the subscription."""
    return await call.parts.subscriptions.change_plan(subscription, price_id, call.locale)


@api.method(BUY, calls_stripe=True)
async def cancel_subscription(call: BusCall, *, subscription: str, at_period_end: bool = True) -> Reply:
    """Cancel a subscription at the end of its period or, with `at_period_end` false, now. Return it."""
    return await call.parts.subscriptions.cancel(
        subscription, at_period_end=at_period_end, locale=call.locale
    )


@api.method(BUY, calls_stripe=True)
async def resume_subscription(call: BusCall, *, subscription: str) -> Reply:
    """Undo the cancellation of a subscription, or end its pause. Return the subscription."""
    return await call.parts.subscriptions.resume(subscription, call.locale)


@api.method(BUY, calls_stripe=True)
async def portal(call: BusCall, *, return_url: str | None = None) -> Reply:
    """Return the `url` of Stripe's customer portal (invoices, payment methods), which links `return_url`."""
    return await call.parts.portal.open(return_url, call.locale)


@api.method(BUY, calls_stripe=True)
async def sync(call: BusCall, *, background: bool = False) -> Reply:
    """Poll Stripe for everything now: return `changed` (the features whose state changed) and `last_sync`.

    `background`: only schedule the poll and return at once. Hotplug calls it so when the network comes up:
    no caller waits, and many routers may come up at the same moment, so the poll is spread over time.
    """
    parts = call.parts
    before = parts.reconciler.state.entitlements
    if background:
        parts.poller.poll_soon("sync in the background")
        return {"changed": [], "last_sync": _time(parts.reconciler.last_sync)}
    await parts.poller.poll_everything()
    after = parts.reconciler.state.entitlements
    changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return {"changed": changed, "last_sync": _time(parts.reconciler.last_sync)}


@api.method(BUY, calls_stripe=True, hub_mode=True)
async def recovery_code(call: BusCall) -> Reply:
    """Return a `code` that moves everything bought on this router to another one, once.

    A code that was returned before does not work any more. Only in hub mode.
    """
    raise NotImplementedError(call)


@api.method(BUY, calls_stripe=True, hub_mode=True)
async def recover(call: BusCall, *, code: str) -> Reply:
    """Move what was bought on another router to this one: return `features`, those that are unlocked now.

    `code`: its recovery code. The other router locks. Only in hub mode.
    """
    raise NotImplementedError(call, code)


@api.method(BUY, calls_stripe=True, hub_mode=True)
async def statement(call: BusCall, *, audience: str) -> Reply:
    """Return a `statement` of the seller's: what this router has paid for, signed for one service.

    A JWT of ten minutes. `audience`: what the service calls itself. Only in hub mode.
    """
    raise NotImplementedError(call, audience)


@api.method(ADMIN)
async def grants(call: BusCall) -> Reply:
    """Return the features that an administrator unlocked: `grants[] {feature, until, note, granted_at}`."""
    return {"grants": await call.parts.grants.list()}


@api.method(ADMIN)
async def grant(call: BusCall, *, feature: str, until: str | None = None, note: str | None = None) -> Reply:
    """Unlock a feature without payment, `until` a time (RFC 3339, UTC) or forever. Return the grant."""
    return await call.parts.grants.grant(feature, until, note)


@api.method(ADMIN)
async def revoke(call: BusCall, *, feature: str) -> Reply:
    """Remove the grant of a feature: return `feature` and `revoked` (false if there was none)."""
    return await call.parts.grants.revoke(feature)


@api.method(ADMIN, calls_stripe=True)
async def refund(
    call: BusCall, *, payment_id: str, amount: Amount = None, reason: str | None = None
) -> Reply:
    """Refund a payment: what is left of it, or `amount` in minor units.

    `reason`: duplicate, fraudulent or requested_by_customer.
    """
    return await call.parts.refunds.refund(payment_id, amount, reason)


@api.method(READ, calls_stripe=True, while_starting=True)
async def check(call: BusCall) -> Reply:
    """Return the diagnostics: `checks[] {id, ok, severity (ok, info, warning, error), detail, hint}`.

    Also without keys or network, and while the ledger cannot be opened.
    """
    return {"checks": await call.diagnostics.run(call.locale)}


@api.method(ADMIN, calls_stripe=True)
async def provision(call: BusCall, *, dry_run: bool = False, replace: bool = False) -> Reply:
    """Create the configured products and prices that Stripe lacks, and store the price ids.

    `dry_run`: only return what would be done; `replace`: create new prices in place of those that differ
    from the configuration. `Provisioner.provision` has the members of the reply.
    """
    return await call.parts.provisioner.provision(dry_run=dry_run, replace=replace, locale=call.locale)


@api.method(ADMIN, calls_stripe=True)
async def setup_webhook(call: BusCall, *, url: str, replace: bool = False) -> Reply:
    """Register `url` at Stripe as this router's webhook endpoint; its secret is stored and not returned.

    `replace`: take over a URL registered for another router. `WebhookSetup.set_up` has the members.
    """
    return await call.parts.webhook_setup.set_up(url, replace=replace, locale=call.locale)


@api.method(ADMIN, calls_stripe=True)
async def set_keys(
    call: BusCall,
    *,
    secret_key: Key = None,
    webhook_secret: Key = None,
    publishable_key: Key = None,
    dry_run: bool = False,
) -> Reply:
    """Store Stripe's keys and return their `mode`. A key that is missing stays, an empty one is removed.

    A secret key of another mode or account discards what belongs to the old one: see `settle_mode`.
    `dry_run`: store nothing, and return also whether Stripe has `accepted` the secret key (null where it
    cannot be reached or there is none), whether it is of the same mode but of an `other_account`, which does
    not have what was bought here, and what `locks`, the names of features.
    """
    from stripe_payments.sync.mode_change import settle_mode

    parts = call.parts
    before = parts.keys.current()
    keep = parts.keys.preview if dry_run else parts.keys.store
    keys = await asyncio.to_thread(
        lambda: keep(secret_key=secret_key, webhook_secret=webhook_secret, publishable_key=publishable_key)
    )
    if dry_run:
        from stripe_payments.setup.key_trial import features_locked_by, tried_at_stripe

        customer = parts.identity.load().customer if keys.mode == before.mode else None
        accepted, foreign = (
            await tried_at_stripe(keys, customer, parts.stripe.base, parts.clock)
            if keys.secret_key
            else (None, False)
        )
        return {
            "mode": keys.mode,
            "accepted": accepted,
            "other_account": foreign,
            "locks": await features_locked_by(keys, parts.ledger, parts.reconciler),
        }
    _log.info("keys changed", mode=keys.mode)
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
