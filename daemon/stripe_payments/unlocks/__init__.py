"""What leaves the daemon: features to UCI `stripe-features`, the outbox to hotplug scripts and ubus."""

from stripe_payments.unlocks.adoption import adopt_features
from stripe_payments.unlocks.router_bus import Bus
from stripe_payments.unlocks.worker import Unlocks

__all__ = ["Bus", "Unlocks", "adopt_features"]
