"""What storing another secret key would do: whether Stripe accepts it, and which features would lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_payments.errors import PaymentError
from stripe_payments.stripe_api import StripeAPI, is_missing
from stripe_payments.stripe_api.client import STRIPE
from stripe_payments.sync.mode_change import forgotten_by

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.keys import Keys
    from stripe_payments.ledger import Ledger
    from stripe_payments.sync.reconciler import Reconciler


async def tried_at_stripe(
    keys: Keys, customer: str | None, api_base: str, clock: TrustedClock
) -> tuple[bool | None, bool]:
    """Return whether Stripe accepts the secret key, and whether it is another account's.

    None where Stripe could not be asked; a restricted key that may not read prices is accepted too. Another
    account's: it does not have this router's `customer`. That is not known for a router without one, and not
    asked for a key of another mode, which has other customers anyway (`features_locked_by`).
    """
    stripe = StripeAPI(
        lambda: keys, clock, None if api_base == STRIPE else api_base, network_retries=0, threads=1
    )
    try:
        await stripe.list("price", {"limit": 1, "expand": []})
        if customer is not None:
            await stripe.get("customer", customer)
    except PaymentError as error:
        if error.code == "stripe_key_invalid":
            return False, False
        if is_missing(error):
            return True, True
        return (True if error.code == "stripe_key_permission" else None), False
    finally:
        stripe.close(timeout=0)
    return True, False


async def features_locked_by(keys: Keys, ledger: Ledger, reconciler: Reconciler) -> list[str]:
    """The names of the unlocked features whose purchase is forgotten with a change to the mode of `keys`."""
    gone = await ledger.read(lambda tx: forgotten_by(keys.mode, tx))
    held = reconciler.state.entitlements
    return sorted(name for name, feature in held.items() if feature.unlocked and feature.source in gone)
