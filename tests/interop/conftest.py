"""A real OpenWrt userland for each module or test; without one, everything here is skipped for one reason."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from simulator.router import Router
from simulator.tests.router.bus import Bus
from simulator.tests.router.test_transcript import ACL, BEFORE
from tests.flows.conftest import Buyer, LuciUser, WorldMaker, buyer, luci_user, mode, quiet_world, world
from tests.flows.modes import Mode
from tests.interop.openwrt import OpenWrt
from tests.interop.packaged_router import PackagedRouter
from tests.interop.packages import install_payments, python_problem
from tests.interop.world import OpenWrtWorld, add_viewer, set_up_payments, skip_reason
from ubus_py import Client

collect_ignore_glob = ["test_[!s]*.py", "test_se*.py"] if skip_reason() else []
"""Without a stack one test is left, `test_stack.py`, which says once why nothing ran."""

__all__ = ["Buyer", "LuciUser", "buyer", "luci_user", "mode", "quiet_world", "world"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here; browser tests share one loop, as in tests/luci: the browser lives in it. Flow
    tests that list their modes run in direct mode.
    """
    items[:] = [item for item in items if not _of_hub_mode(item)]
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)
            if item.path.name.startswith("test_luci"):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def _of_hub_mode(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    if Path(__file__).parent not in item.path.parents or callspec is None:
        return False
    return str(callspec.params.get("mode", "direct")) != "direct"


@pytest.fixture(scope="session")
def staging() -> Path:
    """The built tree."""
    if reason := skip_reason():
        pytest.skip(reason)
    return Path(os.environ["OPENWRT_STAGING"])


@pytest.fixture(scope="module")
def openwrt(staging: Path) -> Iterator[OpenWrt]:
    """A router with our packages set up, where the service was not started."""
    router = OpenWrt(staging)
    try:
        router.start()
        install_payments(router.root)
        set_up_payments(router)
        yield router
    finally:
        router.stop()


@pytest.fixture(scope="session")
def releases_for(
    staging: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[type[PackagedRouter]], Path]:
    """Both releases and the feed for a kind of router, written once; skips where its program is missing."""

    written: dict[type[PackagedRouter], Path] = {}

    def releases(kind: type[PackagedRouter]) -> Path:
        if not (staging / kind.program).exists():
            pytest.skip(f"not run: OPENWRT_STAGING has no {kind.program}")
        if kind not in written:
            written[kind] = tmp_path_factory.mktemp("releases")
            kind.write_releases(staging, written[kind])
        return written[kind]

    return releases


@pytest.fixture
def python_of_the_machine(staging: Path) -> None:
    """The router's programs run with the machine's Python."""
    if problem := python_problem():
        pytest.skip(problem)


@pytest.fixture
def make_world(staging: Path, python_of_the_machine: None, mode: Mode) -> WorldMaker:
    """A router that sells, and a simulated Stripe: for the flow tests, too, and for their fixtures."""
    del python_of_the_machine
    assert mode == "direct"

    def make(*, webhooks: bool = True, configured: bool = True) -> OpenWrtWorld:
        return OpenWrtWorld(staging, webhooks=webhooks, configured=configured)

    return make


CONFIGS_OF_THE_TRANSCRIPT = ("luci", "rpcd", "system", "uhttpd")
"""What the recorded router had, beside `spike`."""


def _as_recorded(files: Path) -> None:
    install_payments(files)
    add_viewer(files)
    for config in (files / "etc/config").iterdir():
        if config.name not in CONFIGS_OF_THE_TRANSCRIPT:
            config.unlink()
    (files / "etc/config/spike").write_text(BEFORE)
    (files / "usr/share/rpcd/acl.d/demo.json").write_text(json.dumps(ACL))


@pytest.fixture
async def bus(staging: Path) -> AsyncIterator[Bus]:
    """The bus of a router like the recorded one, for the tests of the stand-ins."""
    router = OpenWrt(staging, _as_recorded)
    try:
        await asyncio.to_thread(router.start)
        async with Client(router.bus) as client:
            # of the simulated router those tests use its root
            yield Bus(cast(Router, router), client, Path(router.bus))
    finally:
        await asyncio.to_thread(router.stop)
