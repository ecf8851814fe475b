"""Daemons are forks here."""

from tests.daemon_starts import daemons_start_warm

__all__ = ["daemons_start_warm"]
