"""The method `check`: each check is a function in the module of its subject; `checks` is their table."""

from stripe_payments.diagnostics.runner import Diagnostics

__all__ = ["Diagnostics"]
