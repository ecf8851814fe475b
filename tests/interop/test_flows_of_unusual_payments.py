"""The flow tests of unusual payments, on a real router."""

from tests.flows.test_unusual_payments import *  # noqa: F403
