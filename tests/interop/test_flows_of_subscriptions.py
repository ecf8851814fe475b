"""The flow tests of subscriptions, on a real router."""

from tests.flows.test_subscription_life import *  # noqa: F403
