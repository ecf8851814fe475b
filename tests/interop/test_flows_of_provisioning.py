"""The flow tests of provisioning, on a real router."""

from tests.flows.test_provision import *  # noqa: F403
