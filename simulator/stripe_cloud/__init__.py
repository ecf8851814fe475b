"""A stateful Stripe API over HTTP for the pinned SDK version, with hosted pages and a control surface.

    cloud = StripeCloud()
    url = await cloud.start()          # stripe.StripeClient("sk_test_x", base_addresses={"api": url})
    cloud.pay(session_id, card="4000000000000002")
    cloud.advance(31 * 86400)
    await cloud.stop()

or `python -m simulator.stripe_cloud --port 8081`.  Not shipped to the router.
"""

from .cloud import StripeCloud

__all__ = ["StripeCloud"]
