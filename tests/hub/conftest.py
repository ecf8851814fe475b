"""A PostgreSQL of the tests' own, a migrated database for each test, and a vendor with a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from payments_hub.database import migrate
from simulator.postgres import PostgreSQL
from tests.daemon_starts import daemons_start_warm
from tests.hub.vendor import Vendor

__all__ = ["daemons_start_warm"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    server = PostgreSQL({"fsync": "off"})
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def template(postgres: PostgreSQL) -> str:
    """The name of a migrated database that is copied for each test."""
    name = postgres.create_database()
    migrate(postgres.url(name, "hub"))
    return name


@pytest.fixture
def database_url(postgres: PostgreSQL, template: str) -> Iterator[str]:
    name = postgres.create_database(template)
    yield postgres.url(name, "hub")
    postgres.drop_database(name)


@pytest.fixture
async def vendor(database_url: str, tmp_path: Path) -> AsyncIterator[Vendor]:
    async with Vendor.open(database_url, tmp_path) as opened:
        yield opened
