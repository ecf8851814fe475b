"""Restarts in the middle of a purchase, with the real programs."""

from tests.flows.test_restarts_in_a_purchase import *  # noqa: F403
