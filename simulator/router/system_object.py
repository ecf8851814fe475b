"""The ubus object ``system``: what kind of router this is and how it does."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

from simulator.router.uci_file import UciError
from simulator.router.uci_store import UciStore
from ubus_py import Call, Int64, Method, Object, Value

Reply = dict[str, Value]

#: os-release's words and procd's
_RELEASE = {
    "NAME": "distribution",
    "VERSION": "version",
    "BUILD_ID": "revision",
    "VERSION_CODENAME": "codename",
    "OPENWRT_BOARD": "target",
    "OPENWRT_RELEASE": "description",
    "OPENWRT_BUILD_DATE": "builddate",
}
KERNEL = "6.6.93"
PROCESSOR = "ARMv8 Processor rev 0"


class SystemObject:
    """``board`` and ``info``, from the files below ``root`` that a router has (``tmp/sysinfo``,
    ``os-release``)."""

    def __init__(self, root: Path, store: UciStore) -> None:
        self._root = root
        self._store = store
        self._started = time.monotonic()

    def object(self) -> Object:
        """The object to publish."""
        return Object("system", [Method("board", self._board), Method("info", self._info)])

    async def _board(self, call: Call) -> Reply:
        return {
            "kernel": KERNEL,
            "hostname": self._hostname(),
            "system": PROCESSOR,
            "model": self._line("tmp/sysinfo/model"),
            "board_name": self._line("tmp/sysinfo/board_name"),
            "rootfs_type": "squashfs",
            "release": self._release(),
        }

    async def _info(self, call: Call) -> Reply:
        memory = _meminfo()
        return {
            "localtime": int(time.time()),
            "uptime": int(time.monotonic() - self._started),
            "load": [int(load * 65536) for load in os.getloadavg()],
            "memory": {
                "total": Int64(memory.get("MemTotal", 0)),
                "free": Int64(memory.get("MemFree", 0)),
                "shared": Int64(memory.get("Shmem", 0)),
                "buffered": Int64(memory.get("Buffers", 0)),
                "available": Int64(memory.get("MemAvailable", 0)),
                "cached": Int64(memory.get("Cached", 0)),
            },
            "swap": {
                "total": Int64(memory.get("SwapTotal", 0)),
                "free": Int64(memory.get("SwapFree", 0)),
            },
        }

    def _hostname(self) -> str:
        try:
            sections = self._store.load("system", staged=False).sections
        except UciError:
            return "OpenWrt"
        for section in sections:
            hostname = section.options.get("hostname")
            if section.type == "system" and isinstance(hostname, str):
                return hostname
        return "OpenWrt"

    def _line(self, path: str) -> str:
        try:
            return (self._root / path).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def _release(self) -> Reply:
        try:
            text = (self._root / "usr/lib/os-release").read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        release: Reply = {}
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name in _RELEASE:
                release[_RELEASE[name]] = "".join(shlex.split(value))
        return release


def _meminfo() -> dict[str, int]:
    """Bytes by name, from the kernel."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    return {name: int(kib) * 1024 for name, kib in re.findall(r"(\w+):\s+(\d+) kB", text)}
