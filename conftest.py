"""For all tests: no example is judged by how long it took, no test leaves a thread of ours to the next."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tools.msgfmt import compile_daemon_catalog

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

compile_daemon_catalog()

OURS = ("stripe-", "ledger")
PATIENCE_S = 60.0
"""A call to Stripe that was abandoned ends by its own limits."""


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_test() -> Iterator[None]:
    """One that an earlier test left draws from the shared random generator, and fails an innocent."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith(OURS):
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} goes on"
