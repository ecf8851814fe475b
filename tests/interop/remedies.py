"""The commands in the hints of errors and of `check`: which are followed, and why others are not."""

import re
from typing import Final

COMMAND: Final = re.compile(
    r"(?:[Rr]un|[Rr]eload it|[Rr]epair it|[Ff]ix the owner|[Ee]nable them|permissions of ubusd): "
    r"(.+?)(?:\. (?=[A-Z])|\.?$)"
)
"""A hint's command: up to the end of its sentence."""

APPLY = "uci commit stripe-payments; reload_config"
BREAKS: dict[str, tuple[str, str, str]] = {
    "disabled": ("enabled", "uci set stripe-payments.main.enabled=0; uci commit; reload_config", "disabled"),
    "changed, not reloaded": (
        "settings_helper",
        "uci set stripe-payments.main.grace_days=3; uci commit stripe-payments",
        "not reloaded",
    ),
    "rpcd without the helper": (
        "settings_helper",
        "cd /usr/share/rpcd/ucode; mv stripe-payments.uc /tmp; killall -HUP rpcd; sleep 1; "
        "while ubus list stripe-payments.uci; do sleep 0.1; done; mv /tmp/stripe-payments.uc .",
        "does not provide",
    ),
    "readable keys": ("state_directory", "chmod 755 /etc/stripe-payments", "Readable by other users"),
    "pages not mounted": (
        "gateway",
        "sed -i /payment-success/d /etc/config/uhttpd; /etc/init.d/uhttpd reload",
        "does not serve /payment-success",
    ),
    "pages not mounted, changes staged": (
        "gateway",
        "sed -i /payment-success/d /etc/config/uhttpd; uci set uhttpd.main.max_requests=9",
        "does not serve /payment-success",
    ),
    "ledger deleted": ("ledger", "rm /etc/stripe-payments/ledger.db", "was deleted while in use"),
    "state of another user": (
        "state_directory",
        "chown -R root:root /etc/stripe-payments",
        "cannot be read",
    ),
    "/etc/config read-only on its own mount": (
        "storage",
        "mkdir /tmp/small; mount -t tmpfs small /tmp/small; cp -a /etc/config/. /tmp/small; "
        "mount --move /tmp/small /etc/config; mount -o remount,ro /etc/config",
        "/etc/config is read-only",
    ),
    "no free script slot of LuCI": (
        "gateway",
        "printf '#!/bin/sh\\nsleep 60\\n' >/www/cgi-bin/slow; chmod +x /www/cgi-bin/slow; "
        "uci set uhttpd.main.max_requests=1; uci commit uhttpd; service uhttpd restart; "
        "curl -s --retry 9 --retry-connrefused http://$(uci get uhttpd.main.listen_http)/cgi-bin/slow "
        ">/dev/null 2>&1 &",
        "All 1 script slots of LuCI",
    ),
    "uhttpd without the bus": (
        "gateway",
        "kill -9 $(pidof ubusd); setsid ubusd </dev/null >/dev/null 2>&1 & "
        "until ubus list service; do sleep 0.1; done; /etc/init.d/rpcd restart; ubus -t 20 wait_for uci",
        "lost its connection to ubusd",
    ),
    "rpcd hangs": ("settings_helper", "kill -STOP $(pidof rpcd)", "does not answer"),
    "a price that is not at Stripe": (
        "prices",
        f"for option in '' .of=router_os_premium .amount=999 .currency=eur; do "
        f"uci set stripe-payments.price_another${{option:-=price}}; done; {APPLY}",
        "",
    ),
    "another price than at Stripe": (
        "prices",
        f"uci set stripe-payments.price_premium_monthly.amount=599; {APPLY}",
        "",
    ),
}
"""By what is wrong: the check's id, what breaks it, and what the check says."""

FOLLOWED: Final = {
    "uci set stripe-payments.main.enabled=1; uci commit stripe-payments; reload_config": "disabled",
    "service stripe-payments reload": "changed, not reloaded",
    "killall -HUP rpcd || service rpcd restart": "rpcd without the helper",
    "chmod -R go= {folder}": "readable keys",
    "chown -R stripe-payments:stripe-payments {folder}": "state of another user",
    "service stripe-payments restart": "pages not mounted",
    "uci commit uhttpd; service stripe-payments restart": "pages not mounted, changes staged",
    "service rpcd restart": "rpcd hangs",
    "service uhttpd restart": "uhttpd without the bus",
    "mount -o remount,rw /overlay; mount -o remount,rw {mount}": "/etc/config read-only on its own mount",
    "uci set uhttpd.main.max_requests=12; uci commit uhttpd; service uhttpd restart": "no free script slot "
    "of LuCI",
    "ubus call stripe-payments provision": "a price that is not at Stripe",
    "ubus call stripe-payments provision '{\"replace\":true}'": "another price than at Stripe",
}
"""The commands, by the name in BREAKS of what they end."""

NOT_FOLLOWED: Final = {
    'ubus call stripe-payments cancel_subscription \'{"subscription":"sub_…"}\'': "has an id to fill in",
    "/etc/init.d/stripe-payments set_keys": "asks for the key; tests/interop/test_service.py types one",
    "ubus call stripe-payments sync": "polls; what it ends takes hours or Stripe's return (tests/flows)",
    "service sysntpd restart": "sets the clock of the machine that runs the tests",
    "nslookup {host}": "only shows what is wrong",
    "uci show stripe-payments, which shows where": "only shows what is wrong",
    "killall -HUP ubusd": "rights that ubusd has not read: each installation runs it (test_package_life)",
    'ubus call stripe-payments setup_webhook \'{"url":"https://…/api/payments/webhook"}\'': "has an "
    "address to fill in; tests/flows/test_webhook_setup.py",
}
"""The other commands, with the reason."""
