"""The SDK's own types of request parameters, for annotations in other packages.

Only `stripe_api` imports the SDK. Import these names under `TYPE_CHECKING`: they exist for the type checker
alone and cost nothing at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stripe.params import (
        CustomerCreateParams,
        InvoiceCreatePreviewParams,
        PriceCreateParams,
        ProductCreateParams,
        RefundCreateParams,
        SubscriptionResumeParams,
        SubscriptionUpdateParams,
        WebhookEndpointCreateParams,
        WebhookEndpointUpdateParams,
    )
    from stripe.params._invoice_create_preview_params import InvoiceCreatePreviewParamsSubscriptionDetails
    from stripe.params.billing_portal import ConfigurationCreateParams
    from stripe.params.billing_portal import SessionCreateParams as PortalSessionCreateParams
    from stripe.params.checkout import SessionCreateParams, SessionListParams

    __all__ = [
        "ConfigurationCreateParams",
        "CustomerCreateParams",
        "InvoiceCreatePreviewParams",
        "InvoiceCreatePreviewParamsSubscriptionDetails",
        "PortalSessionCreateParams",
        "PriceCreateParams",
        "ProductCreateParams",
        "RefundCreateParams",
        "SessionCreateParams",
        "SessionListParams",
        "SubscriptionResumeParams",
        "SubscriptionUpdateParams",
        "WebhookEndpointCreateParams",
        "WebhookEndpointUpdateParams",
    ]
