"""The ubus object ``stripe-payments.uci``: the only way the daemon, which is not root, reaches UCI.

On the router it is a plugin of rpcd; this is its stand-in and must answer alike
(``tests/conformance/uci_helper_cases.py``). Bad input is answered INVALID_ARGUMENT and writes nothing; what
cannot be stored UNKNOWN_ERROR, and the old file stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from simulator.router.logins import unlimited
from simulator.router.uci_editor import UciEditor
from simulator.router.uci_file import Package, UciError, UciParseError, is_name
from simulator.router.uci_object import describe_package
from simulator.router.uci_store import NoSuchConfigError, UciStore
from ubus_py import STRING, TABLE, ArgType, Call, Method, Object, Status, StatusError, Value

SETTINGS = "stripe-payments"
FEATURES = "stripe-features"
MAX_TEXT = 256
_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]+")
_MOUNT = re.compile(r"ucode_prefix\s+'?([^\s'=]+)=/usr/share/stripe-payments/gateway\.uc")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WORKPLACE = ".stripe-payments-uci"
COPIES = "etc/config/.stripe-payments-uci"
"""The helper's ``COPIES_DIR``. An earlier one had its new file written in ``etc/.stripe-payments-uci``."""
UHTTPD_SCRIPTS = 3
_TEXT_OPTIONS = ("source", "plan", "until", "reason")

Reply = dict[str, Value]


class PaymentsUci:
    """``changed`` is called with the name of every configuration that a call wrote; ``running_scripts``: the
    hotplug scripts that run, and for how many seconds.
    """

    def __init__(
        self,
        store: UciStore,
        changed: Callable[[str], None],
        running_scripts: Callable[[], list[tuple[str, float]]],
    ) -> None:
        self._store = store
        self._running_scripts = running_scripts
        self._changed = changed
        self.port_holders: dict[str, str] = {}
        """Addresses of the public gateway that another program listens on, by its name; empty: none does."""
        self.slots: dict[str, list[tuple[int, int]]] = {"luci": [(0, UHTTPD_SCRIPTS)], "public": []}
        """How many scripts the instances of each web server run, and how many they may."""
        self.web_servers: Callable[[], list[str]] = list
        """The URLs of LuCI's web server."""
        self.limits_slow_clients = True
        self.flash_mount = "/"
        """Where the file system of ``etc`` is mounted."""
        self.copies = COPIES
        """Where a configuration is written, below the root, before it replaces the old one."""

    def object(self) -> Object:
        """The object to publish."""
        return Object(
            "stripe-payments.uci",
            [
                Method("load", self._load),
                Method("storage", self._storage),
                Method("scripts", self._scripts),
                Method("web_servers", self._web_servers),
                Method("unlimited_logins", self._unlimited_logins),
                Method("store", self._store_features, {"features": TABLE}),
                Method("store_prices", self._store_prices, {"prices": TABLE}),
                Method("forget_hub_code", self._forget_hub_code, {"code": STRING}),
            ],
        )

    async def _load(self, call: Call) -> Reply:
        _only(call, {})
        reply: Reply = {"features": self._sections(FEATURES) or {}}
        if (settings := self._sections(SETTINGS)) is not None:
            reply["settings"] = settings
        else:
            reply["malformed"] = self._parse_error(SETTINGS)
        return reply

    def _parse_error(self, config: str) -> str:
        """The message of the program `uci`."""
        try:
            self._store.load(config, staged=False)
        except UciParseError as error:
            return f"Parse error ({error.reason}) at line {error.line}"
        except UciError:
            pass
        return ""

    def _sections(self, config: str) -> Reply | None:
        """The committed configuration: what is only staged is not active. None where it is malformed."""
        try:
            return describe_package(self._store.load(config, staged=False))
        except NoSuchConfigError:
            return {}
        except UciError:
            return None

    async def _storage(self, call: Call) -> Reply:
        _only(call, {})
        flash = (
            "read_only" if self._store.read_only_flash else "full" if self._store.free_flash == 0 else "ok"
        )
        tmp = "full" if self._store.free_tmp == 0 else "ok"
        places = {
            "/etc/stripe-payments": (flash, self.flash_mount),
            "/etc/config": (flash, self.flash_mount),
            "/tmp": (tmp, "/tmp"),
        }
        return {path: {"result": result, "mount": mount} for path, (result, mount) in places.items()}

    async def _scripts(self, call: Call) -> Reply:
        _only(call, {})
        return {"running": [{"script": path, "seconds": int(age)} for path, age in self._running_scripts()]}

    async def _web_servers(self, call: Call) -> Reply:
        _only(call, {})
        uhttpd = self._store.config_dir / "uhttpd"
        settings = self._store.load(SETTINGS, staged=False).section("main")
        options = settings.options if settings is not None else {}
        listen = options.get("listen", [])
        files = [Path(str(path)) for path in (options.get("cert"), options.get("key")) if path]
        return {
            "mounts": _MOUNT.findall(uhttpd.read_text()) if uhttpd.exists() else [],
            "staged": bool(self._store.staged("uhttpd")),
            "certificate": all(path.is_file() for path in files),
            "listeners": [
                {
                    "listen": address,
                    "open": address not in self.port_holders,
                    "holder": self.port_holders.get(address, ""),
                }
                for address in ([listen] if isinstance(listen, str) else listen)
            ],
            "bus": [
                {"address": url.removeprefix(f"{scheme}://"), "path": "/ubus", "secure": scheme == "https"}
                for url in self.web_servers()
                for scheme in [url.partition(":")[0]]
            ],
            "slots": {
                name: [{"used": used, "all": limit} for used, limit in servers]
                for name, servers in self.slots.items()
            },
            "limits_slow_clients": self.limits_slow_clients,
        }

    async def _unlimited_logins(self, call: Call) -> Reply:
        _only(call, {})
        root = self._store.config_dir.parents[1]
        return {"logins": [str(login.options.get("username", "")) for login in unlimited(self._store, root)]}

    async def _store_features(self, call: Call) -> Reply:
        features = _only(call, {"features": TABLE})
        wanted = {name: _feature(name, fields) for name, fields in features.items() if name}
        editor, malformed = self._features_editor()
        for name, options in wanted.items():
            section = editor.package.section(name)
            if section is not None and section.type != "feature":
                raise StatusError(Status.INVALID_ARGUMENT)
            if section is None:
                section = editor.add("feature", name)
            for option, value in options.items():
                editor.set(section, option, value)
        if editor.changes or malformed or not self._store.exists(FEATURES):
            self._write(editor, malformed=malformed)
        return {}

    async def _store_prices(self, call: Call) -> Reply:
        prices = _only(call, {"prices": TABLE})
        editor = self._editor(SETTINGS)
        for alias, price_id in prices.items():
            section = editor.package.section(alias)
            if section is None or section.type != "price":
                raise StatusError(Status.INVALID_ARGUMENT)
            if not isinstance(price_id, str) or not _PRICE_ID.fullmatch(price_id) or len(price_id) > MAX_TEXT:
                raise StatusError(Status.INVALID_ARGUMENT)
            editor.set(section, "price_id", price_id)
        if editor.changes:
            self._write(editor)
        return {}

    async def _forget_hub_code(self, call: Call) -> Reply:
        if call.args.keys() - {"code", "ubus_rpc_session"}:
            raise StatusError(Status.INVALID_ARGUMENT)
        code = call.args.get("code")
        if not isinstance(code, str) or not code or len(code.encode()) > MAX_TEXT or _CONTROL.search(code):
            raise StatusError(Status.INVALID_ARGUMENT)
        editor = self._editor(SETTINGS)
        section = editor.package.section("main")
        if section is not None and section.options.get("hub_code") == code:
            editor.set(section, "hub_code", "")
        if editor.changes:
            self._write(editor)
        return {}

    def _features_editor(self) -> tuple[UciEditor, bool]:
        """Also whether the file is malformed. The daemon knows what is in it, so it can be made again."""
        try:
            return UciEditor(self._store.load(FEATURES, staged=False)), False
        except NoSuchConfigError:
            return UciEditor(Package(FEATURES)), False
        except UciError:
            return UciEditor(Package(FEATURES)), True

    def _editor(self, config: str) -> UciEditor:
        try:
            return UciEditor(self._store.load(config, staged=False))
        except NoSuchConfigError:
            raise StatusError(Status.NOT_FOUND) from None
        except UciError:
            raise StatusError(Status.UNKNOWN_ERROR) from None

    def _write(self, editor: UciEditor, *, malformed: bool = False) -> None:
        config = editor.package.name
        if malformed and self._store.free_flash is None:
            self._store.keep_malformed(config, _WORKPLACE)
        if not self._store.write_all(editor.package, self._store.config_dir.parents[1] / self.copies):
            raise StatusError(Status.UNKNOWN_ERROR)
        self._changed(config)


def _only(call: Call, declared: Mapping[str, ArgType]) -> Mapping[str, Value]:
    """The one declared argument; rpcd's plugins refuse calls with any argument they did not declare."""
    if call.args.keys() - declared.keys() - {"ubus_rpc_session"}:
        raise StatusError(Status.INVALID_ARGUMENT)
    for name in declared:
        value = call.args.get(name)
        if not isinstance(value, dict):
            raise StatusError(Status.INVALID_ARGUMENT)
        return value
    return {}


def _feature(name: str, fields: Value) -> dict[str, str]:
    """The options to write for a feature; the empty text takes an option away."""
    if not is_name(name) or len(name) > MAX_TEXT or not isinstance(fields, dict):
        raise StatusError(Status.INVALID_ARGUMENT)
    unlocked = fields.get("unlocked")
    if not isinstance(unlocked, bool) or fields.keys() - {"unlocked", *_TEXT_OPTIONS}:
        raise StatusError(Status.INVALID_ARGUMENT)
    options = {"unlocked": "1" if unlocked else "0"}
    for option in _TEXT_OPTIONS:
        value = fields.get(option)
        if value is None:
            value = ""
        if not isinstance(value, str) or len(value.encode()) > MAX_TEXT or _CONTROL.search(value):
            raise StatusError(Status.INVALID_ARGUMENT)
        options[option] = value
    return options
