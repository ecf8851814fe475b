"""Subscriptions, invoices and everything that happens to them as time passes.  No HTTP here."""
