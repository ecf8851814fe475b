"""The settings of `/etc/config/stripe-payments`, loaded and frozen.

An invalid value never stops the daemon: the default stays, or the entry is left out, and `Settings.problems`
says so, for `check` and the log. The values come as rpcd's ``uci get`` returns them: every option a string or
a list of strings.

`model` is what the rest of the daemon reads, `uci` makes it from the sections' `options`, `loader` gets
the sections from rpcd.
"""

from stripe_payments.settings.model import (
    Feature,
    Interval,
    Plan,
    Price,
    Problem,
    Product,
    Sellable,
    SellerContact,
    Settings,
)
from stripe_payments.settings.options import Sections, is_hub_address
from stripe_payments.settings.uci import settings_from_uci

__all__ = [
    "Feature",
    "Interval",
    "Plan",
    "Price",
    "Problem",
    "Product",
    "Sections",
    "Sellable",
    "SellerContact",
    "Settings",
    "is_hub_address",
    "settings_from_uci",
]
