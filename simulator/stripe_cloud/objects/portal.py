"""Customer portal configurations and sessions."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json

EVERYTHING_ON: Json = {
    "customer_update": {"enabled": True, "allowed_updates": ["email", "address"]},
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True},
    "subscription_cancel": {"enabled": True},
}


def configuration(account: Account, params: Json, *, is_default: bool) -> Json:
    given = params["features"]
    profile = params.get("business_profile", {})
    cancel = given.get("subscription_cancel", {})
    change = given.get("subscription_update", {})
    pause = given.get("subscription_pause", {})
    return {
        "id": account.new_id("bpc_1"),
        "object": "billing_portal.configuration",
        "active": True,
        "application": None,
        "business_profile": {
            "headline": profile.get("headline") or None,
            "privacy_policy_url": profile.get("privacy_policy_url"),
            "terms_of_service_url": profile.get("terms_of_service_url"),
        },
        "created": account.now(),
        "default_return_url": params.get("default_return_url") or None,
        "features": {
            "customer_update": {
                "allowed_updates": given.get("customer_update", {}).get("allowed_updates") or [],
                "enabled": given.get("customer_update", {}).get("enabled", False),
            },
            "invoice_history": {"enabled": given.get("invoice_history", {}).get("enabled", False)},
            "payment_method_update": {
                "enabled": given.get("payment_method_update", {}).get("enabled", False),
                "payment_method_configuration": None,
            },
            "subscription_cancel": {
                "cancellation_reason": {"enabled": False, "options": ["too_expensive", "unused", "other"]},
                "enabled": cancel.get("enabled", False),
                "mode": cancel.get("mode", "at_period_end"),
                "proration_behavior": cancel.get("proration_behavior", "none"),
            },
            "subscription_pause": {
                "duration": {"interval_options": [], "type": "indefinite"},
                "enabled": pause.get("enabled", False),
            },
            "subscription_update": {
                "billing_cycle_anchor": None,
                "default_allowed_updates": change.get("default_allowed_updates") or [],
                "enabled": change.get("enabled", False),
                "proration_behavior": change.get("proration_behavior", "none"),
                "schedule_at_period_end": {"conditions": []},
                "trial_update_behavior": change.get("trial_update_behavior", "end_trial"),
            },
        },
        "is_default": is_default,
        "livemode": account.livemode,
        "login_page": {"enabled": params.get("login_page", {}).get("enabled", False), "url": None},
        "metadata": params.get("metadata", {}),
        "name": params.get("name") or None,
        "updated": account.now(),
    }


def session(account: Account, params: Json, configuration_id: str) -> Json:
    session_id = account.new_id("bps_1")
    return {
        "id": session_id,
        "object": "billing_portal.session",
        "configuration": configuration_id,
        "created": account.now(),
        "customer": params["customer"],
        "customer_account": None,
        "flow": _flow(params["flow_data"]) if "flow_data" in params else None,
        "livemode": account.livemode,
        "locale": params.get("locale"),
        "on_behalf_of": None,
        "return_url": params.get("return_url"),
        "url": f"{account.public_url}/p/session/{session_id}",
    }


def _flow(given: Json) -> Json:
    completion = given.get("after_completion", {"type": "portal_homepage"})
    kind = given["type"]
    flow: Json = {
        "after_completion": {
            "hosted_confirmation": completion.get("hosted_confirmation"),
            "redirect": completion.get("redirect"),
            "type": completion["type"],
        },
        "subscription_cancel": None,
        "subscription_pause": None,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }
    if kind in given:
        target = dict(given[kind])
        if kind == "subscription_cancel":
            target.setdefault("retention", None)
        if kind == "subscription_update_confirm":
            target.setdefault("discounts", None)
        flow[kind] = target
    return flow
