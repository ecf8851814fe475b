"""The recorded session with rpcd and procd, played to real ones with our own tool."""

from simulator.tests.router.test_transcript import test_the_transcript

__all__ = ["test_the_transcript"]
