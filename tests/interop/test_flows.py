"""What the flow tests do with a world, on a real router. (Those with fixtures of their own: beside this.)"""

from tests.flows.test_check import *  # noqa: F403
from tests.flows.test_edited_state import *  # noqa: F403
from tests.flows.test_http_api import *  # noqa: F403
from tests.flows.test_interrupted_checkout import *  # noqa: F403
from tests.flows.test_one_time_purchase import *  # noqa: F403
from tests.flows.test_power_cuts import *  # noqa: F403
