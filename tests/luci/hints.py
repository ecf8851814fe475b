"""What hints of errors and of `check` tell a person to do in LuCI, and where that can be done."""

import ast
import re
from pathlib import Path
from typing import Final

DAEMON: Final = Path(__file__).resolve().parents[2] / "daemon/stripe_payments"
NAMES_A_PAGE: Final = re.compile(
    r"\b(?:in|on|under) (?:Settings|My features|Transactions)\b|^My features shows"
)
OF_STRIPE: Final = "URL of the terms under Settings, Business"
"""Settings of Stripe's Dashboard, not of LuCI."""

TITLES: Final = {"setup": "Settings", "features": "My features", "transactions": "Transactions"}
"""Of the pages, by the end of their address."""

_OPTION = '[data-pane=advanced] -> [data-field="cbid.stripe-payments.main.{}"]'
_PRODUCTS = "[data-pane=catalog] -> #sp-provision [data-focus=look]"
_SECRET_KEY = "[data-pane=stripe] -> #sp-key-secret_key"
_WEBHOOK = "[data-pane=stripe] -> #sp-webhook input"

CLICKS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "A payment page expires after a day. Check now on My features": (("features", "[data-focus=sync]"),),
    "Check now on My features": (("features", "[data-focus=sync]"),),
    "Add prices in Settings": (
        ("setup", "[data-pane=catalog] -> #cbi-stripe-payments-price .cbi-button-add"),
    ),
    "Cancel those that are not needed on My features": (
        ("features", "[data-action=cancel]"),
        ("transactions", "[data-action=refund]"),
    ),
    "Check the webhook secret in Settings": (("setup", "[data-pane=stripe] -> #sp-key-webhook_secret"),),
    "Choose another price, or ask the administrator to check the products": (("setup", _PRODUCTS),),
    "Correct the changed prices or replace them in Settings": (("setup", _PRODUCTS),),
    "Create the missing products in Settings": (("setup", _PRODUCTS),),
    "Enable payments in Settings": (("setup", _OPTION.format("enabled")),),
    "What you own stays unlocked. The administrator can enable payments": (
        ("setup", _OPTION.format("enabled")),
    ),
    "Enter keys of the same mode in Settings": (
        ("setup", _SECRET_KEY),
        ("setup", _PRODUCTS),
        ("setup", _WEBHOOK),
    ),
    "Enter the key in Settings": (("setup", _SECRET_KEY),),
    "The administrator has to enter a valid Stripe key in Settings": (("setup", _SECRET_KEY),),
    "The administrator has to enter the Stripe keys in Settings": (("setup", _SECRET_KEY),),
    "Open the shop at the router's own address": (
        ("setup", "[data-pane=advanced] -> #cbi-stripe-payments-main-allowed_origin"),
    ),
    "Set up the webhook in Settings, or run": (("setup", _WEBHOOK),),
    "Set up the webhook in Settings. Payments": (("setup", _WEBHOOK),),
    "The administrator has to set it up in the Stripe Dashboard": (
        ("setup", "[data-pane=advanced] -> #cbi-stripe-payments-main-tax_id_collection"),
        ("setup", "[data-pane=advanced] -> #cbi-stripe-payments-main-terms_of_service"),
    ),
    "My features shows what you own. You can switch plans there": (("features", "[data-action=change]"),),
}
"""By the beginning of the text: pages, and what has to be there to click on or to fill in; behind `->` once
what is before it was clicked.
"""

LABELS: Final = {"[data-focus=sync]"}
"""Buttons whose label the hint repeats."""


def texts_that_name_a_page() -> set[str]:
    """All translated texts of the daemon that send a person to a page of LuCI."""
    found = set()
    for file in DAEMON.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                text = node.args[0] if node.args else None
                if isinstance(text, ast.Constant) and NAMES_A_PAGE.search(str(text.value)):
                    found.add(str(text.value))
    return {text for text in found if OF_STRIPE not in text}


def clicks_of(text: str) -> tuple[tuple[str, str], ...]:
    """The rows for a text; the longest beginning counts. Raises KeyError where there are none."""
    beginnings = [beginning for beginning in CLICKS if text.startswith(beginning)]
    return CLICKS[max(beginnings, key=len, default=text)]
