"""Stripe's SDK loads aiohttp where it is. No router has it; the simulator's must not slow the daemon down."""

raise ImportError("not on a router")
