"""Hub mode: the seller's hub holds the Stripe key, and this router buys through it.

`transport` is HTTP, `credential` the secret on disk, `rotation` its exchange, `hub_state` what the hub said
last and what is unlocked by it (pure), `seller` enrols, polls and keeps that state in the ledger, `purchases`
sends the calls that buy, `seller_methods` are the bus methods in hub mode. Neither the Stripe SDK nor
`requests` is imported here.
"""

from stripe_payments.hub_client.hub_parts import HubParts, connect_to_hub

__all__ = ["HubParts", "connect_to_hub"]
