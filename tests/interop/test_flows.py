"""Every flow test again, on a real router."""

from tests.flows.test_http_api import *  # noqa: F403
from tests.flows.test_one_time_purchase import *  # noqa: F403
from tests.flows.test_power_cuts import *  # noqa: F403
