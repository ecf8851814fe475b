"""What the tests of rpcd's and procd's stand-ins expect, of the real rpcd and procd."""

from simulator.tests.router.test_restarts_and_procd import *  # noqa: F403
from simulator.tests.router.test_sessions import *  # noqa: F403
from simulator.tests.router.test_uci_object import *  # noqa: F403

# About the stand-in's own parts: its files, and the way that it notifies the simulator of a commit.
del test_acl_files, test_passwords, test_a_commit_is_announced  # noqa: F821
