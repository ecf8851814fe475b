"""The folder that looks like the router's ``/``: the files we ship and the few of the system's that they rely
on."""

from __future__ import annotations

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: what is installed on a router, by our two packages
SHIPPED = (REPOSITORY / "files", REPOSITORY / "luci-app-stripe-payments/root")
LUCI_GROUP = "luci-app-stripe-payments"

_SYSTEM_FILES = {
    "etc/config/system": """
config system
	option hostname 'OpenWrt'
	option timezone 'CET-1CEST,M3.5.0,M10.5.0/3'
	option zonename 'Europe/Rome'

""",
    "etc/config/luci": """
config core 'main'
	option lang 'auto'
	option mediaurlbase '/luci-static/bootstrap'
	option resourcebase '/luci-static/resources'

config internal 'languages'
	option en 'English'
	option it 'Italiano (Italian)'

config internal 'sauth'
	option sessiontime '3600'

config internal 'apply'
	option rollback '90'
	option holdoff '4'
	option timeout '5'
	option display '1.5'

""",
    "etc/config/rpcd": f"""
config rpcd
	option socket '/var/run/ubus/ubus.sock'
	option timeout '30'

config login
	option username 'root'
	option password '$p$root'
	list read '*'
	list write '*'

config login
	option username 'owner'
	option password '$p$owner'
	list read 'unauthenticated'
	list read 'luci-base'
	list read 'luci-mod-status-index'
	list read '{LUCI_GROUP}'
	list write '{LUCI_GROUP}-buy'

config login
	option username 'seller'
	option password '$p$seller'
	list read 'unauthenticated'
	list read 'luci-base'
	list read 'luci-mod-status-index'
	list read '{LUCI_GROUP}'
	list write 'luci-base'
	list write '{LUCI_GROUP}-buy'
	list write '{LUCI_GROUP}-admin'

config login
	option username 'viewer'
	option password '$p$viewer'
	list read 'unauthenticated'
	list read 'luci-base'
	list read '{LUCI_GROUP}'

""",
    "etc/config/uhttpd": """
config uhttpd 'main'
	list listen_http '0.0.0.0:80'
	list listen_http '[::]:80'
	option home '/www'
	option cgi_prefix '/cgi-bin'
	option ubus_prefix '/ubus'
	list ucode_prefix '/api/payments=/usr/share/stripe-payments/gateway.uc'
	list ucode_prefix '/payment-success=/usr/share/stripe-payments/gateway.uc'
	list ucode_prefix '/payment-cancel=/usr/share/stripe-payments/gateway.uc'

""",
    "usr/lib/os-release": """NAME="OpenWrt"
VERSION="24.10.2"
ID="openwrt"
BUILD_ID="r28739-d9340319c6"
OPENWRT_BOARD="mediatek/filogic"
OPENWRT_RELEASE="OpenWrt 24.10.2 r28739-d9340319c6"
OPENWRT_BUILD_DATE="1750711236"
""",
    "tmp/sysinfo/model": "Bananapi BPI-R4\n",
    "tmp/sysinfo/board_name": "bananapi,bpi-r4\n",
    "usr/share/rpcd/acl.d/unauthenticated.json": """{
	"unauthenticated": {
		"description": "What needs no login",
		"read": { "ubus": { "luci": [ "getFeatures" ], "session": [ "access", "login" ] } }
	}
}
""",
    "usr/share/rpcd/acl.d/luci-base.json": """{
	"luci-base": {
		"description": "What every page of LuCI needs",
		"read": {
			"ubus": {
				"file": [ "list" ],
				"session": [ "access" ],
				"system": [ "board", "info" ],
				"uci": [ "changes", "get" ]
			},
			"uci": [ "luci", "system" ]
		},
		"write": {
			"ubus": {
				"uci": [ "add", "apply", "confirm", "delete", "order", "rename", "revert", "rollback", "set" ]
			},
			"uci": [ "luci", "system" ]
		}
	}
}
""",
}


def prepare_root(root: Path) -> None:
    """Fill ``root``. Files we ship replace those of an earlier time, but for configurations: those are the
    owner's."""
    for path in ("etc/config", "etc/hotplug.d/stripe-payments", "usr/share/acl.d", "usr/share/rpcd/acl.d"):
        (root / path).mkdir(parents=True, exist_ok=True)
    for path, text in _SYSTEM_FILES.items():
        _install(text.encode(), root / path, keep=path.startswith("etc/"))
    for package in SHIPPED:
        for source in sorted(package.rglob("*")) if package.is_dir() else ():
            if source.is_file():
                relative = source.relative_to(package)
                _install(source.read_bytes(), root / relative, keep=relative.parts[:2] == ("etc", "config"))
                shutil.copymode(source, root / relative)
    for acl in (root / "usr/share/acl.d").glob("*.json"):
        acl.chmod(0o644)  # ubusd ignores a file that its group may write, which umask 002 would make it


def _install(content: bytes, target: Path, *, keep: bool) -> None:
    if keep and target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o644)
