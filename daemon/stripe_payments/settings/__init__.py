"""The settings of `/etc/config/stripe-payments`, read once and frozen. Pure: sections in, settings out.

A bad value never stops the daemon: the default stays, or the entry is left out, and `Settings.problems` says
so in both languages, for `check` and the log. The values come as rpcd's ``uci get`` gives them: every option
a string or a list of strings.

`configured` and `catalogue` are what the rest of the daemon reads; `uci_catalogue` and `uci_options` make
it of the sections.
"""

from stripe_payments.settings.catalogue import Feature, Interval, Plan, Price, Product, Sellable
from stripe_payments.settings.model import Settings
from stripe_payments.settings.uci import Problem, Sections

__all__ = ["Feature", "Interval", "Plan", "Price", "Problem", "Product", "Sections", "Sellable", "Settings"]
