"""Setting a Stripe account up for this router: its products and prices, and its webhook endpoint.

Everything here may be called again and again: what is there is found, what is missing is made, what differs
is reported and stays as it is unless the administrator asks for more.
"""

from stripe_payments.setup.provision import Provisioner
from stripe_payments.setup.webhook_endpoint import WebhookSetup

__all__ = ["Provisioner", "WebhookSetup"]
