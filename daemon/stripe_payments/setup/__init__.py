"""Set up a Stripe account for this router: its products and prices, and its webhook endpoint.

Everything here is idempotent: what exists is found, what is missing is created, what differs is reported and
changed only if the administrator requests it.
"""

from stripe_payments.setup.provision import Provisioner, store_in_uci
from stripe_payments.setup.webhook_endpoint import WebhookSetup

__all__ = ["Provisioner", "WebhookSetup", "store_in_uci"]
