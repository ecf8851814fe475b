"""A backup of a router and its restore on a new one, by OpenWrt's own sysupgrade, with opkg and with apk."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.package_life import KEY, STATE, is_still_set_up, set_up
from tests.interop.packaged_router import ApkRouter, OpkgRouter, PackagedRouter

KEPT = {
    "/etc/config/stripe-features",
    "/etc/config/stripe-payments",
    *(f"{STATE}/{name}" for name in ("identity.json", "ledger.db", "secrets.json", "settings.json")),
}
"""What of ours is backed up, beside SQLite's log."""
BACKUP = "/root/backup.tar.gz"

MakeRouter = Callable[[], PackagedRouter]


@pytest.fixture(params=(OpkgRouter, ApkRouter), ids=("opkg", "apk"))
def make_router(
    request: pytest.FixtureRequest,
    releases_for: Callable[[type[PackagedRouter]], Path],
    staging: Path,
    python_of_the_machine: None,
) -> Iterator[MakeRouter]:
    """Makes routers on which this release is installed."""
    del python_of_the_machine
    if not (staging / "rootfs/usr/sbin/sysupgrade").exists():
        pytest.skip("not run: OPENWRT_STAGING has no rootfs/usr/sbin/sysupgrade")
    kind: type[PackagedRouter] = request.param
    made: list[PackagedRouter] = []

    def make() -> PackagedRouter:
        router = kind(staging, releases_for(kind))
        made.append(router)
        router.start()
        router.install()
        router.wait_until(router.answers, "the daemon answers")
        return router

    yield make
    for router in made:
        router.stop()


def _ours(listed: str) -> set[str]:
    return {line for line in listed.split() if "stripe" in line and not line.endswith("-wal")}


def test_a_backup_holds_all_of_the_state_and_a_new_router_goes_on_from_it(make_router: MakeRouter) -> None:
    old = make_router()
    set_up(old)
    identity = old.sh(f"cat {STATE}/identity.json")
    assert _ours(old.sh("sysupgrade -l")) == KEPT
    old.sh(f"sysupgrade -q -b {BACKUP}")
    backup = (old.root / BACKUP.lstrip("/")).read_bytes()

    new = make_router()
    assert new.sh(f"cat {STATE}/identity.json") != identity
    new.sh("/etc/init.d/stripe-payments stop")
    new.wait_until(lambda: new.pid_of("stripe-payments", "daemon") is None, "the daemon is gone")
    # the new system counts its users in another way, and a restore brings the old numbers of the files
    (new.root / BACKUP.lstrip("/")).write_bytes(backup)
    new.sh(f"sysupgrade -q -r {BACKUP}")
    new.sh(f"sed -i 's/^stripe-payments:x:[0-9]*:/stripe-payments:x:777:/' /etc/passwd; chown -R 1:1 {STATE}")
    # what the first boot of an image does
    new.sh("sh /usr/share/stripe-payments/set-up.sh; /etc/init.d/stripe-payments start")
    new.wait_until(new.answers, "the daemon answers")
    assert new.sh(f"cat {STATE}/identity.json") == identity
    assert KEY in new.sh(f"cat {STATE}/secrets.json")
    is_still_set_up(new)


def test_what_was_never_changed_is_left_to_the_new_system(make_router: MakeRouter) -> None:
    """The shipped configuration is no state; keys, identity and ledger are always kept."""
    router = make_router()
    listed = _ours(router.sh("sysupgrade -l"))
    assert listed <= KEPT
    assert "/etc/config/stripe-payments" not in listed
    assert {f"{STATE}/identity.json", f"{STATE}/ledger.db"} <= listed
