"""The packages' life on a router, whichever package manager it has: tests for the modules that name one.

Such a module has `ROUTER`, a kind of `PackagedRouter`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.packaged_router import FOLLOWING, SHIPPED_WITH_IT, PackagedRouter

__all__ = [
    "router",
    "test_a_new_library_alone_restarts_a_daemon_that_runs",
    "test_an_older_release_refuses_a_newer_ledger_with_words_and_leaves_it_alone",
    "test_an_upgrade_brings_the_new_daemon_and_keeps_what_is_set_and_known",
    "test_installed_it_runs_and_removed_it_leaves_luci_as_it_was",
    "test_the_package_has_the_italian_texts",
]

MOUNTS = ["/api/payments", "/payment-success", "/payment-cancel"]
KEY = "sk_test_keptThroughEverything1234"
STATE = "/etc/stripe-payments"


@pytest.fixture
def router(
    request: pytest.FixtureRequest,
    staging: Path,
    releases_for: Callable[[type[PackagedRouter]], Path],
    python_of_the_machine: None,
) -> Iterator[PackagedRouter]:
    """A router that has never seen the packages."""
    del python_of_the_machine
    kind: type[PackagedRouter] = request.module.ROUTER
    router = kind(staging, releases_for(kind))
    try:
        router.start()
        yield router
    finally:
        router.stop()


def test_installed_it_runs_and_removed_it_leaves_luci_as_it_was(router: PackagedRouter) -> None:
    before = router.sh("cat /etc/config/uhttpd")
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    assert "stripe-payments:" in router.sh("cat /etc/passwd")
    assert router.sh(f"stat -c '%U %a' {STATE}").split() == ["stripe-payments", "700"]
    assert router.mounted() == MOUNTS
    assert router.on_the_bus("stripe-payments.uci")
    assert router.sh("uci get luci.languages.it").strip() == "Italiano (Italian)"
    assert router.sh("ls /etc/uci-defaults").split() == [], "what has run is gone"
    assert router.sh("ls /etc/rc.d | grep -c stripe-payments").strip() == "2"
    router.wait_until(router.serves, "LuCI's web server serves")
    health = router.sh(f"curl -s {router.url}/api/payments/health")
    assert '"' in health

    # An administrator has set what is to stay, and has something staged that is not done: it is neither
    # published nor in the way.
    set_up(router)
    router.sh("uci set uhttpd.main.max_requests=9")
    router.remove()
    router.wait_until(lambda: not router.on_the_bus("stripe-payments.uci"), "rpcd has forgotten the helper")
    assert not router.on_the_bus("stripe-payments*")
    router.wait_until(lambda: router.pid_of("stripe-payments", "daemon") is None, "the daemon is gone")
    assert router.sh("ls /etc/rc.d").count("stripe-payments") == 0
    assert router.sh("uci changes uhttpd").strip() == "uhttpd.main.max_requests='9'"
    router.sh("uci revert uhttpd")
    assert router.mounted() == []
    assert _options(router.sh("cat /etc/config/uhttpd")) == _options(before)
    router.sh("/etc/init.d/uhttpd restart")
    router.wait_until(router.serves, "LuCI serves without the gateway")
    # What was made here is kept, and the package leaves nothing running or linked.
    assert {"identity.json", "ledger.db", "secrets.json"} <= set(router.sh(f"ls {STATE}").split())
    assert router.sh("uci get stripe-payments.main.grace_days").strip() == "3"
    assert router.run("ls", "/etc/.stripe-payments-uci").returncode != 0
    assert router.run("ls", "/var/run/stripe-payments").returncode != 0
    assert router.run("find", "/usr/lib/stripe-payments", "-type", "f").stdout == ""

    # Installed again, it is the same router to Stripe.
    identity = router.sh(f"cat {STATE}/identity.json")
    router.install()
    router.wait_until(router.answers, "the daemon answers again")
    assert router.sh(f"cat {STATE}/identity.json") == identity
    assert router.mounted() == MOUNTS
    is_still_set_up(router)


def test_an_upgrade_brings_the_new_daemon_and_keeps_what_is_set_and_known(router: PackagedRouter) -> None:
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    first = router.pid_of("stripe-payments", "daemon")
    set_up(router)
    identity = router.sh(f"cat {STATE}/identity.json")

    router.install("following")
    router.wait_until(lambda: router.version() == FOLLOWING, "the following release's daemon answers")
    assert router.pid_of("stripe-payments", "daemon") not in (None, first)
    assert router.sh(f"cat {STATE}/identity.json") == identity
    is_still_set_up(router)
    assert router.mounted() == MOUNTS
    assert router.sh("grep -c ^stripe-payments: /etc/passwd").strip() == "1"
    assert router.sh("ls /etc/uci-defaults").split() == [], "what has run is gone"
    assert router.sh("ls /etc/rc.d | grep -c stripe-payments").strip() == "2"

    # The new release's own configuration is there to compare with, and replaces nothing; its state is not.
    assert router.sh("ls /etc/config | grep ^stripe-features").split() == ["stripe-features"]
    shipped = f"/etc/config/stripe-payments{router.new_beside_changed}"
    assert router.sh(f"cat {shipped}").endswith(SHIPPED_WITH_IT)
    router.sh("uci commit && uci show >/dev/null && reload_config")


def test_a_new_library_alone_restarts_a_daemon_that_runs(router: PackagedRouter) -> None:
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    first = router.pid_of("stripe-payments", "daemon")
    router.install("following", only="python3-stripe")
    router.wait_until(lambda: router.pid_of("stripe-payments", "daemon") not in (None, first), "it restarts")
    router.wait_until(router.answers, "the daemon answers again")

    router.sh("/etc/init.d/stripe-payments stop")
    router.wait_until(lambda: router.pid_of("stripe-payments", "daemon") is None, "the daemon is gone")
    router.go_back(only="python3-stripe")
    assert router.pid_of("stripe-payments", "daemon") is None, "what was stopped stays so"


def test_an_older_release_refuses_a_newer_ledger_with_words_and_leaves_it_alone(
    router: PackagedRouter,
) -> None:
    router.install("following")
    router.wait_until(lambda: router.version() == FOLLOWING, "the following release's daemon answers")
    set_up(router)
    router.sh("/etc/init.d/stripe-payments stop")
    router.wait_until(lambda: router.pid_of("stripe-payments", "daemon") is None, "the daemon is gone")
    ledger = router.sh(f"sha256sum {STATE}/ledger.db")

    router.go_back()
    router.wait_until(lambda: "ledger_unavailable" in _features(router), "the older daemon answers")
    assert "newer version" in _features(router)
    assert "reinstall that version" in _features(router)
    check = json.loads(router.sh("ubus call stripe-payments check"))
    found = next(finding for finding in check["checks"] if finding["id"] == "ledger")
    assert not found["ok"]
    assert "newer version" in found["detail"]
    assert router.sh(f"sha256sum {STATE}/ledger.db") == ledger
    assert router.sh("uci get stripe-features.phone_support.unlocked").strip() == "1", "nothing is locked"

    router.install("following")
    router.wait_until(lambda: router.version() == FOLLOWING, "the newer daemon is back")
    is_still_set_up(router)


def test_the_package_has_the_italian_texts(router: PackagedRouter) -> None:
    """Without the compiled catalog every text would be English, and nothing would fail."""
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    arguments = json.dumps({"feature": "no_such_feature", "locale": "it"})
    done = router.run("ubus", "call", "stripe-payments", "grant", arguments)
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "unknown_feature"
    assert error["message"] == "Funzione sconosciuta: “no_such_feature”."
    assert error["hint"] == "“features” elenca tutte le funzioni."
    assert error["user_hint"] == "Ricarica la pagina e riprova."
    page = router.sh(f"curl -s -H 'Accept-Language: it' {router.url}/payment-cancel")
    assert "<h1>Pagamento annullato</h1>" in page


def set_up(router: PackagedRouter) -> None:
    """A key, a setting, and a feature that is unlocked."""
    router.run("/etc/init.d/stripe-payments", "set_keys", text=f"{KEY}\n\n\n")
    router.sh("uci set stripe-payments.main.grace_days=3 && uci commit stripe-payments")
    router.sh('ubus call stripe-payments grant \'{"feature":"phone_support"}\'')
    router.wait_until(
        lambda: router.run("uci", "get", "stripe-features.phone_support.unlocked").stdout.strip() == "1",
        "the feature is unlocked",
    )


def is_still_set_up(router: PackagedRouter) -> None:
    assert KEY in router.sh(f"cat {STATE}/secrets.json")
    assert router.sh(f"stat -c '%U %a' {STATE}/secrets.json").split() == ["stripe-payments", "600"]
    assert router.sh("uci get stripe-payments.main.grace_days").strip() == "3"
    router.wait_until(
        lambda: (
            json.loads(_features(router) or "{}").get("features", {}).get("phone_support", {}).get("unlocked")
        ),
        "the feature is still unlocked",
    )
    assert router.sh("uci get stripe-features.phone_support.unlocked").strip() == "1"


def _features(router: PackagedRouter) -> str:
    return router.run("ubus", "-t", "2", "call", "stripe-payments", "features").stdout


def _options(config: str) -> list[str]:
    """A configuration without the white space and quotes that `uci` writes again, and without comments."""
    lines = [" ".join(line.replace("'", "").split("#")[0].split()) for line in config.splitlines()]
    return [line for line in lines if line]
