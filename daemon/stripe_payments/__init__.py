"""Stripe payments for OpenWrt: a router sells its own premium features."""

__version__ = "0.9.0"
