"""Stripe payments for Router OS: a router sells its own premium features."""

__version__ = "0.1.0"
