"""The flow tests of the webhook, on a real router."""

from tests.flows.test_webhook_setup import *  # noqa: F403
