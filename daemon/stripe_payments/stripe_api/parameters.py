"""The SDK's own types of request parameters, for annotations in other packages.

Only `stripe_api` imports the SDK; these names exist for the type checker alone and cost nothing at run time, so
they are imported under `TYPE_CHECKING`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stripe.params import CustomerCreateParams as CustomerCreateParams
    from stripe.params import PriceCreateParams as PriceCreateParams
    from stripe.params import ProductCreateParams as ProductCreateParams
    from stripe.params import RefundCreateParams as RefundCreateParams
    from stripe.params import WebhookEndpointCreateParams as WebhookEndpointCreateParams
    from stripe.params import WebhookEndpointUpdateParams as WebhookEndpointUpdateParams
    from stripe.params.checkout import SessionCreateParams as SessionCreateParams
