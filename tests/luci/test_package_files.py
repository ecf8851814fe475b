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
            "recover",
            "recovery_code",
            "resume_subscription",
            "statement",
            "sync",
        ],
        ADMIN: ["grant", "grants", "provision", "refund", "revoke", "set_keys", "setup_webhook"],
    }


def test_the_groups_grant_nothing_else() -> None:
    assert list(ACL) == list(RIGHTS)
    for group, entry in ACL.items():
        configuration = {"uci": ["stripe-payments"]} if group == ADMIN else {}
        rights = dict(entry[RIGHTS[group]])
        objects = rights.pop("ubus")
        # the pages ask rpcd what the login may: without this only a login with "*" has an answer
        assert objects.pop("session", None) == (["access"] if group == READ else None)
        assert set(objects) == {"stripe-payments"}
        assert rights == configuration
        others = {key: value for key, value in entry.items() if key not in ("description", RIGHTS[group])}
        assert others == ({"read": configuration} if configuration else {})
    assert "*" not in json.dumps(ACL)


def test_the_menu_s_settings_depend_on_the_mark_of_a_managed_router() -> None:
    """Their address does not, and has no title: it is in no menu, and the page says why it is empty."""
    (script,) = re.findall(
        r"(?m)^MANAGED=(\S+)", (APPLICATION.parent / "files/etc/init.d/stripe-payments").read_text()
    )
    wanted = {script.replace("$RUNTIME", "/var/run/stripe-payments"): "absent"}
    assert MENU["admin/payments/setup"]["depends"]["fs"] == wanted


def test_every_page_needs_the_right_to_see_it_and_has_a_view() -> None:
    assert [path for path, entry in MENU.items() if "title" not in entry] == ["admin/payments/settings"]
    for entry in MENU.values():
        assert entry["depends"]["acl"] == [READ]
        if entry["action"]["type"] != "firstchild":
            assert entry["action"]["type"] == "template"
            template = f"root/usr/share/ucode/luci/template/{entry['action']['path']}.ut"
            assert (APPLICATION / template).is_file()


def test_a_page_requests_at_once_all_modules_that_it_consists_of() -> None:
    """What is not in the list is found late: in the module that requires it."""
    for entry in MENU.values():
        if entry["action"]["type"] == "template":
            modules = entry["action"]["modules"]
            assert modules[0].startswith("view.stripe-payments.")
            assert sorted(modules) == sorted(_with_requirements(modules[0]))


def _with_requirements(module: str) -> set[str]:
    """A module of the app and those that it requires, and those that they require."""
    script = APPLICATION / f"htdocs/luci-static/resources/{module.replace('.', '/')}.js"
    if not script.is_file():
        return set()
    required = re.findall(r"(?m)^'require (\S+?)(?: as \w+)?';", script.read_text("utf-8"))
    return {module}.union(*map(_with_requirements, required))


def test_no_page_has_what_luci_takes_for_its_own() -> None:
    """`cbi_init` and `ui.tabs` go through a page that is there when LuCI has set itself up."""
    attributes = r"data-(?:tab|strings|depends|update|choices|dynlist|type|ui-widget)\b(?!-)"
    taken = rf"{attributes}|cbi-(?:dropdown|tooltip)\b"
    for script in APPLICATION.rglob("htdocs/**/*.js"):
        assert re.findall(taken, script.read_text("utf-8")) == [], script


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
