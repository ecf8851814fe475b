"""What ``stripe-payments.uci`` must answer and write, as a table: for the stand-in, and for the real plugin
of rpcd.

A runner puts ``BEFORE`` in place as the two configurations (but for those a case wants ``absent`` or
``malformed``), makes each call of a case in turn, and compares the status, the answer where one is given, and
the files afterwards (``None``: as they were before the case). A call may be made while one of two file
systems has no free byte: that of the configurations, or that of libuci's staged changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ubus_py import Status

SETTINGS = """
config payments 'main'
	option enabled '1'
	list allowed_origin 'https://a.example'
	list allowed_origin 'https://b.example'
	option hub_code 'ABCDE-FGHJK'

config plan 'premium'
	option title 'Premium'
	list feature 'priority_support'

config price 'price_premium_monthly'
	option of 'premium'
	option amount '499'
	option currency 'eur'
	option interval 'month'

config price 'price_premium_yearly'
	option of 'premium'
	option price_id 'price_old'

"""
FEATURES = """
config feature 'priority_support'
	option unlocked '1'
	option source 'sub_1'
	option plan 'premium'
	option until '2026-12-01T00:00:00Z'
	option reason 'active'
	option note 'kept by the owner'

config feature 'monitoring'
	option unlocked '0'

config other 'somebody_elses'
	option unlocked '0'

"""
MALFORMED = "config feature 'half\n"
BEFORE = {"stripe-payments": SETTINGS, "stripe-features": FEATURES}
FEATURE = {"unlocked": True, "source": "cs_test_1", "plan": "", "until": "", "reason": "paid"}


FileSystem = Literal["configurations", "changes"]


@dataclass(frozen=True)
class Call:
    """One call; ``answer`` None: an answer of no interest, or none because of the status. ``full``: the file
    system that has no free byte meanwhile, or, with ``read_only``, is mounted read-only.
    """

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    status: Status = Status.OK
    answer: Mapping[str, Any] | None = None
    full: FileSystem | None = None
    read_only: bool = False


@dataclass(frozen=True)
class Case:
    """Calls in order, and the two files afterwards (None: untouched, not even rewritten)."""

    name: str
    calls: tuple[Call, ...]
    settings: str | None = None
    features: str | None = None
    absent: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()
    uhttpd: str | None = None
    """The web server's configuration, where the case has one of its own."""
    own_mount: bool = False


def _store(features: object, status: Status = Status.OK) -> Call:
    answer: dict[str, Any] | None = {} if status is Status.OK else None
    return Call("store", {"features": features}, status, answer)


def _store_prices(prices: object, status: Status = Status.OK) -> Call:
    answer: dict[str, Any] | None = {} if status is Status.OK else None
    return Call("store_prices", {"prices": prices}, status, answer)


def _forget_hub_code(code: object, status: Status = Status.OK) -> Call:
    answer: dict[str, Any] | None = {} if status is Status.OK else None
    return Call("forget_hub_code", {"code": code}, status, answer)


def _while_full(full: FileSystem, call: Call) -> Call:
    return replace(call, status=Status.UNKNOWN_ERROR, answer=None, full=full)


def _while_read_only(call: Call) -> Call:
    return replace(call, status=Status.UNKNOWN_ERROR, answer=None, full="configurations", read_only=True)


WEB_SERVER = "127.0.0.1:80"
"""The address of LuCI's web server; runners put it in the place of the one that they use."""
UHTTPD = """
config uhttpd 'main'
	list listen_http '127.0.0.1:{port}'
	option home '/www'
	option cgi_prefix '/cgi-bin'
	option ubus_prefix '/ubus'
	list ucode_prefix '/api/payments=/usr/share/stripe-payments/gateway.uc'
	list ucode_prefix '/another=/usr/share/another/gateway.uc'
	list ucode_prefix '/payment-cancel=/usr/share/stripe-payments/gateway.uc'

"""


def _web_servers(*mounts: str) -> Call:
    return Call(
        "web_servers",
        answer={
            "mounts": list(mounts),
            "staged": False,
            "certificate": True,
            "listeners": [],
            "bus": [{"address": WEB_SERVER, "path": "/ubus", "secure": False}],
            "slots": {"luci": [{"used": 0, "all": 3}], "public": []},
            "limits_slow_clients": True,
        },
    )


def _storage(result: str = "ok", *, mount: str = "/etc", full: bool = False, read_only: bool = False) -> Call:
    """`result` of both folders below /etc, which is mounted at `mount`."""
    flash = {"result": result, "mount": mount}
    return Call(
        "storage",
        answer={
            "/etc/stripe-payments": flash,
            "/etc/config": flash,
            "/tmp": {"result": "ok", "mount": "/tmp"},
        },
        full="configurations" if full or read_only else None,
        read_only=read_only,
    )


def _refused(name: str, *calls: Call) -> Case:
    return Case(name, calls)


_BAD = Status.INVALID_ARGUMENT
_UNLOCKED = FEATURES.replace("\toption unlocked '0'\n\nconfig other", "{}\nconfig other")

LOADED = {
    "settings": {
        "main": {
            ".anonymous": False,
            ".type": "payments",
            ".name": "main",
            ".index": 0,
            "enabled": "1",
            "allowed_origin": ["https://a.example", "https://b.example"],
            "hub_code": "ABCDE-FGHJK",
        },
        "premium": {
            ".anonymous": False,
            ".type": "plan",
            ".name": "premium",
            ".index": 1,
            "title": "Premium",
            "feature": ["priority_support"],
        },
        "price_premium_monthly": {
            ".anonymous": False,
            ".type": "price",
            ".name": "price_premium_monthly",
            ".index": 2,
            "of": "premium",
            "amount": "499",
            "currency": "eur",
            "interval": "month",
        },
        "price_premium_yearly": {
            ".anonymous": False,
            ".type": "price",
            ".name": "price_premium_yearly",
            ".index": 3,
            "of": "premium",
            "price_id": "price_old",
        },
    },
    "features": {
        "priority_support": {
            ".anonymous": False,
            ".type": "feature",
            ".name": "priority_support",
            ".index": 0,
            "unlocked": "1",
            "source": "sub_1",
            "plan": "premium",
            "until": "2026-12-01T00:00:00Z",
            "reason": "active",
            "note": "kept by the owner",
        },
        "monitoring": {
            ".anonymous": False,
            ".type": "feature",
            ".name": "monitoring",
            ".index": 1,
            "unlocked": "0",
        },
        "somebody_elses": {
            ".anonymous": False,
            ".type": "other",
            ".name": "somebody_elses",
            ".index": 2,
            "unlocked": "0",
        },
    },
}

CASES: tuple[Case, ...] = (
    Case("load answers as uci get does", (Call("load", answer=LOADED),)),
    Case(
        "a browser's session id is no argument of ours",
        (Call("load", {"ubus_rpc_session": "0" * 32}, answer=LOADED),),
    ),
    Case(
        "a feature that is there is unlocked",
        (_store({"monitoring": FEATURE}),),
        features=_UNLOCKED.format(
            "\toption unlocked '1'\n\toption source 'cs_test_1'\n\toption reason 'paid'\n"
        ),
    ),
    Case(
        "locking takes away what is empty or absent, and leaves the owner's options alone",
        (_store({"priority_support": {"unlocked": False, "source": "", "reason": "canceled"}}),),
        features=FEATURES.replace("option unlocked '1'\n\toption source 'sub_1'\n", "option unlocked '0'\n")
        .replace("\toption plan 'premium'\n\toption until '2026-12-01T00:00:00Z'\n", "")
        .replace("reason 'active'", "reason 'canceled'"),
    ),
    Case(
        "a feature that is new is added at the end",
        (_store({"remote_backup": {**FEATURE, "plan": "premium", "until": "2027-01-01T00:00:00Z"}}),),
        features=FEATURES
        + "config feature 'remote_backup'\n\toption unlocked '1'\n\toption source 'cs_test_1'\n"
        + "\toption plan 'premium'\n\toption until '2027-01-01T00:00:00Z'\n\toption reason 'paid'\n\n",
    ),
    Case(
        "the same again writes nothing",
        (
            _store(
                {
                    "priority_support": {
                        "unlocked": True,
                        "source": "sub_1",
                        "plan": "premium",
                        "until": "2026-12-01T00:00:00Z",
                        "reason": "active",
                    },
                    "monitoring": {"unlocked": False},
                }
            ),
        ),
    ),
    Case("nothing to store is fine", (_store({}), _store_prices({}))),
    Case("a table's entry without a name is none, as everywhere in rpcd", (_store({"": FEATURE}),)),
    Case(
        "the state file is made again when it was deleted",
        (_store({"monitoring": {"unlocked": True}}),),
        features="\nconfig feature 'monitoring'\n\toption unlocked '1'\n\n",
        absent=("stripe-features",),
    ),
    Case(
        "without its files there is nothing to load",
        (
            Call("load", answer={"settings": {}, "features": {}}),
            _store_prices({"price_premium_yearly": "price_1"}, Status.NOT_FOUND),
        ),
        absent=("stripe-payments", "stripe-features"),
    ),
    Case(
        "quotes are text, and so is what a shell would run",
        (_store({"monitoring": {"unlocked": True, "reason": 'it\'s $(reboot) `x` "y" \\ città'}}),),
        features=_UNLOCKED.format(
            "\toption unlocked '1'\n\toption reason 'it'\\''s $(reboot) `x` \"y\" \\ città'\n"
        ),
    ),
    Case(
        "256 bytes are not too long",
        (_store({"monitoring": {"unlocked": True, "reason": "x" * 256}}),),
        features=_UNLOCKED.format(f"\toption unlocked '1'\n\toption reason '{'x' * 256}'\n"),
    ),
    _refused("257 bytes are", _store({"monitoring": {"unlocked": True, "reason": "x" * 257}}, _BAD)),
    _refused(
        "bytes count, not letters", _store({"monitoring": {"unlocked": True, "reason": "à" * 129}}, _BAD)
    ),
    _refused("a newline", _store({"monitoring": {"unlocked": True, "reason": "a\nb"}}, _BAD)),
    _refused("a control character", _store({"monitoring": {"unlocked": True, "source": "a\x1bb"}}, _BAD)),
    _refused("a tab", _store({"monitoring": {"unlocked": True, "source": "a\tb"}}, _BAD)),
    _refused("an option of no feature", _store({"monitoring": {**FEATURE, "root": "1"}}, _BAD)),
    _refused("an option that is no text", _store({"monitoring": {**FEATURE, "plan": 5}}, _BAD)),
    _refused("an option that is a list", _store({"monitoring": {**FEATURE, "plan": ["a"]}}, _BAD)),
    _refused("unlocked missing", _store({"monitoring": {"reason": "paid"}}, _BAD)),
    _refused("unlocked as a number", _store({"monitoring": {**FEATURE, "unlocked": 1}}, _BAD)),
    _refused("unlocked as text", _store({"monitoring": {**FEATURE, "unlocked": "1"}}, _BAD)),
    _refused("a name with a dash", _store({"remote-backup": FEATURE}, _BAD)),
    _refused("a name with a dot", _store({"network.lan": FEATURE}, _BAD)),
    _refused("a name that is a reference", _store({"@feature[0]": FEATURE}, _BAD)),
    _refused("a name with a quote", _store({"a'b": FEATURE}, _BAD)),
    _refused("a name with an accent", _store({"città": FEATURE}, _BAD)),
    _refused("a feature that is no table", _store({"monitoring": True}, _BAD)),
    _refused("a section of another type", _store({"somebody_elses": FEATURE}, _BAD)),
    _refused("one bad one spoils all", _store({"monitoring": FEATURE, "x y": FEATURE}, _BAD)),
    _refused("features missing", Call("store", {}, _BAD)),
    _refused("features of the wrong type", Call("store", {"features": ["monitoring"]}, _BAD)),
    _refused("an argument that is not declared", Call("store", {"features": {}, "config": "network"}, _BAD)),
    _refused("an argument load does not have", Call("load", {"config": "wireless"}, _BAD)),
    Case(
        "a price id is set, and replaced",
        (_store_prices({"price_premium_monthly": "price_1Abc", "price_premium_yearly": "price_2Def"}),),
        settings=SETTINGS.replace(
            "option interval 'month'\n", "option interval 'month'\n\toption price_id 'price_1Abc'\n"
        ).replace("price_old", "price_2Def"),
    ),
    Case("the same price id again writes nothing", (_store_prices({"price_premium_yearly": "price_old"}),)),
    _refused("a price that is not configured", _store_prices({"price_new": "price_1"}, _BAD)),
    _refused("a section that is no price", _store_prices({"main": "price_1"}, _BAD)),
    _refused("a price id with a quote", _store_prices({"price_premium_yearly": "price_1'"}, _BAD)),
    _refused("a price id with a newline", _store_prices({"price_premium_yearly": "price_1\n"}, _BAD)),
    _refused(
        "a price id that is another kind of id", _store_prices({"price_premium_yearly": "prod_1"}, _BAD)
    ),
    _refused("a price id of nothing", _store_prices({"price_premium_yearly": "price_"}, _BAD)),
    _refused("a price id too long", _store_prices({"price_premium_yearly": "price_" + "x" * 251}, _BAD)),
    _refused("a price id that is no text", _store_prices({"price_premium_yearly": 5}, _BAD)),
    _refused(
        "one bad price spoils all",
        _store_prices({"price_premium_monthly": "price_1", "price_premium_yearly": ""}, _BAD),
    ),
    _refused("prices missing", Call("store_prices", {}, _BAD)),
    _refused("prices of the wrong type", Call("store_prices", {"prices": "x"}, _BAD)),
    Case(
        "a used enrolment code is removed",
        (_forget_hub_code("ABCDE-FGHJK"),),
        settings=SETTINGS.replace("\toption hub_code 'ABCDE-FGHJK'\n", ""),
    ),
    Case("a code that is not the configured one stays", (_forget_hub_code("ABCDE-23456"),)),
    _refused("no code", _forget_hub_code("", _BAD)),
    _refused("a code with a newline", _forget_hub_code("ABCDE-FGHJK\n", _BAD)),
    _refused("a code that is no text", _forget_hub_code(5, _BAD)),
    _refused("a method there is not", Call("commit", {}, Status.METHOD_NOT_FOUND)),
    Case(
        "settings that are malformed are reported and left as they are",
        (
            Call(
                "load",
                {},
                answer={
                    "features": LOADED["features"],
                    "malformed": "Parse error (EOF with unterminated ') at line 1",
                },
            ),
            _store_prices({"price_premium_yearly": "price_1"}, Status.UNKNOWN_ERROR),
        ),
        malformed=("stripe-payments",),
    ),
    Case(
        "a malformed state file is made again",
        (
            Call("load", {}, answer={"settings": LOADED["settings"], "features": {}}),
            _store({"monitoring": FEATURE}),
        ),
        features=(
            "\nconfig feature 'monitoring'\n"
            "\toption unlocked '1'\n\toption source 'cs_test_1'\n\toption reason 'paid'\n\n"
        ),
        malformed=("stripe-features",),
    ),
    _refused(
        "a feature while the flash is full", _while_full("configurations", _store({"monitoring": FEATURE}))
    ),
    _refused("a feature while /tmp is full", _while_full("changes", _store({"monitoring": FEATURE}))),
    _refused(
        "a price id while the flash is full",
        _while_full("configurations", _store_prices({"price_premium_yearly": "price_1"})),
    ),
    _refused(
        "a price id while /tmp is full",
        _while_full("changes", _store_prices({"price_premium_yearly": "price_1"})),
    ),
    Case(
        "what could not be stored is stored when there is room again",
        (
            _while_full("configurations", _store({"monitoring": FEATURE})),
            _while_full("changes", _store({"monitoring": FEATURE})),
            _store({"monitoring": FEATURE}),
        ),
        features=_UNLOCKED.format(
            "\toption unlocked '1'\n\toption source 'cs_test_1'\n\toption reason 'paid'\n"
        ),
    ),
    Case(
        "while the flash is full a deleted state file is not made",
        (_while_full("configurations", _store({"monitoring": FEATURE})),),
        absent=("stripe-features",),
    ),
    Case(
        "while the flash is full a malformed state file stays",
        (_while_full("configurations", _store({"monitoring": FEATURE})),),
        malformed=("stripe-features",),
    ),
    _refused(
        "while the flash is read-only nothing is stored",
        _while_read_only(_store({"monitoring": FEATURE})),
        _while_read_only(_store_prices({"price_premium_yearly": "price_1"})),
    ),
    Case(
        "what could not be stored is stored when the flash is writable again",
        (_while_read_only(_store({"monitoring": FEATURE})), _store({"monitoring": FEATURE})),
        features=_UNLOCKED.format(
            "\toption unlocked '1'\n\toption source 'cs_test_1'\n\toption reason 'paid'\n"
        ),
    ),
    Case(
        "the configurations may have a mount of their own",
        (_store({"monitoring": FEATURE}), _store_prices({"price_premium_yearly": "price_1"})),
        settings=SETTINGS.replace("price_old", "price_1"),
        features=_UNLOCKED.format(
            "\toption unlocked '1'\n\toption source 'cs_test_1'\n\toption reason 'paid'\n"
        ),
        own_mount=True,
    ),
    Case(
        "a malformed state file is made again on a mount of its own",
        (_store({"monitoring": FEATURE}),),
        features=(
            "\nconfig feature 'monitoring'\n"
            "\toption unlocked '1'\n\toption source 'cs_test_1'\n\toption reason 'paid'\n\n"
        ),
        malformed=("stripe-features",),
        own_mount=True,
    ),
    Case("storage in which everything can be stored", (_storage(mount="/"),)),
    Case("storage with a full flash", (_storage("full", full=True), _storage())),
    Case("storage with a read-only flash", (_storage("read_only", read_only=True), _storage())),
    Case("no hotplug script runs", (Call("scripts", answer={"running": []}),)),
    Case(
        "the web server of LuCI, and what it serves of ours",
        (_web_servers("/api/payments", "/payment-cancel"),),
        uhttpd=UHTTPD,
    ),
    Case("the logins that may do everything", (Call("unlimited_logins", answer={"logins": ["root"]}),)),
    _refused("an argument web_servers does not have", Call("web_servers", {"config": "network"}, _BAD)),
    Case(
        "what is stored already needs no room",
        (replace(_store_prices({"price_premium_yearly": "price_old"}), full="configurations"),),
    ),
)
