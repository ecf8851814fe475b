"""The menu and the access rules that are shipped."""

import json
import re
from typing import Any

from tests.luci.texts import APPLICATION

MENU: dict[str, Any] = json.loads(
    (APPLICATION / "root/usr/share/luci/menu.d/luci-app-stripe-payments.json").read_text("utf-8")
)
ACL: dict[str, Any] = json.loads(
    (APPLICATION / "root/usr/share/rpcd/acl.d/luci-app-stripe-payments.json").read_text("utf-8")
)

READ = "luci-app-stripe-payments"
BUY = "luci-app-stripe-payments-buy"
ADMIN = "luci-app-stripe-payments-admin"

RIGHTS = {
    READ: "read",
    BUY: "write",
    ADMIN: "write",
}
"""Nothing that changes anything is in a group that a read-only login gets."""


def test_every_method_is_in_its_group_by_its_exact_name() -> None:
    methods = {
        group: entry[RIGHTS[group]]["ubus"]["stripe-payments"]
        for group, entry in ACL.items()
        if group in RIGHTS
    }
    assert methods == {
        READ: [
            "catalog",
            "check",
            "features",
            "has",
            "payment_status",
            "status",
            "subscriptions",
            "transactions",
        ],
        BUY: [
            "cancel_subscription",
            "change_plan",
            "create_checkout_session",
            "portal",
            "preview_change",
            "resume_subscription",
            "sync",
        ],
        ADMIN: ["grant", "grants", "provision", "refund", "revoke", "set_keys", "setup_webhook"],
    }


def test_the_groups_grant_nothing_else() -> None:
    assert list(ACL) == list(RIGHTS)
    for group, entry in ACL.items():
        configuration = {"uci": ["stripe-payments"]} if group == ADMIN else {}
        rights = dict(entry[RIGHTS[group]])
        assert set(rights.pop("ubus")) == {"stripe-payments"}
        assert rights == configuration
        others = {key: value for key, value in entry.items() if key not in ("description", RIGHTS[group])}
        assert others == ({"read": configuration} if configuration else {})
    assert "*" not in json.dumps(ACL)


def test_every_page_needs_the_right_to_see_it_and_has_a_view() -> None:
    for entry in MENU.values():
        assert entry["title"]
        assert entry["depends"]["acl"] == [READ]
        if entry["action"]["type"] == "view":
            view = APPLICATION / "htdocs/luci-static/resources/view" / f"{entry['action']['path']}.js"
            assert view.is_file()


def test_every_call_of_the_pages_is_granted() -> None:
    granted = {
        method for group, right in RIGHTS.items() for method in ACL[group][right]["ubus"]["stripe-payments"]
    }
    called = set()
    for script in APPLICATION.rglob("htdocs/**/*.js"):
        called |= set(
            re.findall(r"(?:object: OBJECT,\s*method: |= slowly\()'(\w+)'", script.read_text("utf-8"))
        )
    assert called
    assert called <= granted
