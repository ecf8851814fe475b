"""The packages' life on a router of OpenWrt 25.12: apk installs, upgrades and removes them."""

import json

from tests.interop.package_life import *  # noqa: F403
from tests.interop.packaged_router import ApkRouter

ROUTER = ApkRouter
CERTIFICATES = "/usr/lib/python3-stripe/stripe/data/ca-certificates.crt"


def test_a_library_that_was_damaged_is_repaired_as_the_checks_say(router: ApkRouter) -> None:
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    identity = router.sh("cat /etc/stripe-payments/identity.json")
    router.sh(f"rm {CERTIFICATES}")
    check = json.loads(router.sh("ubus call stripe-payments check"))
    hint = next(finding["hint"] for finding in check["checks"] if finding["id"] == "ca_bundle")
    assert "apk fix python3-stripe" in hint
    assert "skipped" in router.apk("fix python3-stripe"), "no feed has what came from a file"

    assert "apk del -r python3-stripe" in hint
    router.apk("del -r python3-stripe")
    router.install()
    router.sh(f"ls {CERTIFICATES}")
    router.wait_until(router.answers, "the daemon answers again")
    assert router.sh("cat /etc/stripe-payments/identity.json") == identity


def test_a_sysupgrade_sees_what_was_changed(router: ApkRouter) -> None:
    """By the sums that the package brings; in no other way does it know of a configuration."""
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    assert _changed(router) == []
    router.sh("uci set stripe-payments.main.grace_days=3 && uci commit stripe-payments")
    assert _changed(router) == ["/etc/config/stripe-payments"]


def _changed(router: ApkRouter) -> list[str]:
    sums = "cat /lib/apk/packages/*.conffiles_static"
    differs = 'echo "$sum  $file" | busybox sha256sum -sc - || echo "$file"'
    return router.sh(f"{sums} | while read file sum; do {differs}; done").split()
