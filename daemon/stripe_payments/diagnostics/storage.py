"""Checks of the storage: free space, trial writes, and who may read the state directory."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, Final

from stripe_payments.diagnostics.finding import Finding
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.i18n import _
from ubus_py import UbusError

LOW_BYTES: Final = 2 * 1024 * 1024
"""The WAL can grow to this size before a checkpoint."""
FULL_BYTES: Final = 256 * 1024
_BUS_TIMEOUT_S: Final = 4.0
_SPACE_HINT: Final = _("Remove unused packages or files; see: df -h; du -sh /overlay/*")


async def state_directory(probes: Probes) -> Finding:
    """The directory with the keys must be private to the service."""
    folder = probes.situation.state_dir

    def readable_by_others() -> list[Path]:
        private = (folder, folder / "secrets.json", folder / "ledger.db", folder / "identity.json")
        return [path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]

    try:
        wrong = await probes.in_thread(readable_by_others)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Finding(
            "error",
            _("{folder} cannot be read ({reason}).", folder=folder, reason=reason),
            _("Fix the owner: chown -R stripe-payments:stripe-payments {folder}", folder=folder),
        )
    if wrong:
        names = ", ".join(str(path) for path in wrong)
        return Finding(
            "error",
            _("Readable by other users: {names}.", names=names),
            _(
                "Run: chmod -R go= {folder}. If another person had access to the router, create new keys in "
                "Stripe.",
                folder=folder,
            ),
        )
    return Finding("ok", _("{folder} is private to the service.", folder=folder))


async def storage(probes: Probes) -> Finding:
    """Free space for the ledger, and a trial write wherever payments store something."""
    folder = probes.situation.state_dir
    if (refused := await _refusing_folder(probes)) is not None:
        return refused
    found = await probes.in_thread(lambda: probes.situation.statvfs(folder))
    free = found.f_bavail * found.f_frsize
    out_of_files = found.f_files > 0 and found.f_favail < 8
    kib = free // 1024
    if free < FULL_BYTES or out_of_files:
        return Finding(
            "error",
            _(
                "The storage of {folder} is full ({kib} KiB free): payments cannot be stored.",
                folder=folder,
                kib=kib,
            ),
            _SPACE_HINT,
        )
    if free < LOW_BYTES:
        return Finding(
            "warning",
            _("The storage of {folder} is nearly full ({kib} KiB free).", folder=folder, kib=kib),
            _SPACE_HINT,
        )
    return Finding("ok", _("{mib} MiB of storage free.", mib=kib // 1024))


async def _refusing_folder(probes: Probes) -> Finding | None:
    """The first folder in which rpcd's helper could not write. It is outside of the daemon's jail."""
    try:
        reply: Any = await probes.situation.bus.call(
            "stripe-payments.uci", "storage", {}, timeout=_BUS_TIMEOUT_S
        )
    except UbusError:
        return None  # `settings_helper` reports it
    for folder, found in reply.items():
        if found["result"] == "read_only":
            return _read_only(folder, found["mount"])
        if found["result"] == "full":
            return _full(folder, found["mount"])
    return None


def _read_only(folder: str, mount: str) -> Finding:
    return Finding(
        "error",
        _("{folder} is read-only: nothing can be stored there.", folder=folder),
        _(
            "Run: mount -o remount,rw /overlay; mount -o remount,rw {mount}. If it becomes read-only again, "
            "the storage is failing: save a backup and replace it.",
            mount=mount,
        ),
    )


def _full(folder: str, mount: str) -> Finding:
    if mount == "/tmp":  # noqa: S108 - a name in a reply
        return Finding(
            "error",
            _("{folder} is full: changes cannot be passed to UCI, and logs are lost.", folder=folder),
            _("Delete what fills it, or reboot the router; see: df -h /tmp; du -a /tmp | sort -n | tail"),
        )
    return Finding(
        "error",
        _("{folder} is full: settings and features cannot be stored.", folder=folder),
        _(
            "Remove unused packages or files; see: df -h {mount}; du -ax {place} | sort -n | tail",
            mount=mount,
            place="/overlay" if mount == "/" else mount,  # "/" has the files of the image, too
        ),
    )
