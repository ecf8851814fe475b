"""The one place where state leaves: the ledger's outbox becomes UCI `stripe-features`, hotplug scripts and
ubus events.
"""

from stripe_payments.unlocks.worker import Bus, Unlocks

__all__ = ["Bus", "Unlocks"]
