"""What goes wrong on a device around the daemon: storage of UCI, other writers, restarts, slow programs."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from campaigns.faults.disturbance import BusAway, Disturbance, RpcdAway
from campaigns.faults.router_under_test import RouterUnderTest

__all__ = ["DEVICE_DISTURBANCES", "calls_to_scripts"]

_FEATURES = "etc/config/stripe-features"
_SCRIPTS = "etc/hotplug.d/stripe-payments"
_SLOW_S = 1.5
_SLOW_CLIENTS = 20
_BEGUN = b"POST /api/payments/webhook HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\n{"


def calls_to_scripts(router: RouterUnderTest) -> dict[str, str]:
    """`unlock` or `lock`: the last call that procd received for each feature."""
    return {name: heard[-1] for name, heard in router.observer.scripts().items()}


class _Room(Disturbance):
    """Files below `etc` may have `flash` bytes, staged changes `tmp` (None: no limit), or it is read-only."""

    def __init__(
        self, name: str, *, flash: int | None = None, tmp: int | None = None, read_only: bool = False
    ) -> None:
        self.name = name
        self._flash = flash
        self._tmp = tmp
        self._read_only = read_only

    async def begin(self, router: RouterUnderTest) -> None:
        store = router.world.router.store
        store.free_flash, store.free_tmp, store.read_only_flash = self._flash, self._tmp, self._read_only

    async def end(self, router: RouterUnderTest) -> None:
        store = router.world.router.store
        store.free_flash, store.free_tmp, store.read_only_flash = None, None, False


class _LostCommits(Disturbance):
    """Parallel commits undo the next two writes of the feature state."""

    name = "lost commits"

    async def begin(self, router: RouterUnderTest) -> None:
        router.world.router.store.lost_writes["stripe-features"] = 2

    async def end(self, router: RouterUnderTest) -> None:
        router.world.router.store.lost_writes.clear()


class _ParallelCommits(Disturbance):
    """Another program reads the feature state, and writes what it has read a moment later."""

    name = "parallel commits"
    _task: asyncio.Task[None] | None = None

    async def begin(self, router: RouterUnderTest) -> None:
        self._task = asyncio.create_task(self._write(router.world.root / _FEATURES))

    async def _write(self, file: Path) -> None:
        while True:
            with suppress(FileNotFoundError):
                read = file.read_bytes()
                await asyncio.sleep(0.05)
                draft = file.with_name(".other-program")
                draft.write_bytes(read)
                draft.replace(file)
            await asyncio.sleep(0.1)

    async def end(self, router: RouterUnderTest) -> None:
        del router
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class _Edited(Disturbance):
    """`edit` changes the text of the feature state, and nothing announces it; None removes the file."""

    def __init__(self, name: str, edit: Callable[[str], str | None]) -> None:
        self.name = f"state {name}"
        self._edit = edit

    async def begin(self, router: RouterUnderTest) -> None:
        file = router.world.root / _FEATURES
        edited = self._edit(file.read_text() if file.exists() else "")
        if edited is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(edited)

    async def end(self, router: RouterUnderTest) -> None:
        del router


class _OwnMount(Disturbance):
    """`/etc/config` is on a file system of its own, so that nothing can be renamed into it."""

    name = "/etc/config on its own mount"
    _folder: Path | None = None

    async def begin(self, router: RouterUnderTest) -> None:
        config = router.world.root / "etc/config"
        self._folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="etc-config-"))
        shutil.copytree(config, self._folder, dirs_exist_ok=True)
        config.rename(config.with_name("config-before"))
        config.symlink_to(self._folder)

    async def end(self, router: RouterUnderTest) -> None:
        """It stays until the case is over."""
        del router

    async def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder)


class _RpcdAway(RpcdAway):
    """Scripts that run go on: they are procd's."""

    async def begin(self, router: RouterUnderTest) -> None:
        await router.world.router.hotplug.settled()
        await super().begin(router)


class _ProcdAway(Disturbance):
    """procd is off the bus for a while: no scripts are started."""

    name = "procd away"
    answers_may_be_lost = True

    async def begin(self, router: RouterUnderTest) -> None:
        await router.world.router.stop_procd()

    async def end(self, router: RouterUnderTest) -> None:
        await router.world.router.start_procd()


class _UhttpdAway(Disturbance):
    """The web server starts again; webhooks meet a closed port."""

    name = "uhttpd away"

    async def begin(self, router: RouterUnderTest) -> None:
        await router.world.front.close_port()

    async def end(self, router: RouterUnderTest) -> None:
        address = urlsplit(router.world.front.url)
        host = address.hostname or ""
        try:
            await router.world.front.open_port(host, address.port or 0)
        except OSError:  # another trial has the port by now
            await router.world.front.open_port(host, 0)
            for endpoint in router.world.stripe.account.newest_first("webhook_endpoint"):
                endpoint["url"] = f"{router.world.front.url}/api/payments/webhook"


class _DaemonKilled(Disturbance):
    """kill -9, and procd starts it again."""

    name = "daemon killed"

    async def begin(self, router: RouterUnderTest) -> None:
        await router.kill_daemon()

    async def end(self, router: RouterUnderTest) -> None:
        del router


class _SlowScripts(Disturbance):
    """The scripts of another package take their time, for an unlock longer than for a lock."""

    name = "slow scripts"

    async def begin(self, router: RouterUnderTest) -> None:
        script = router.world.root / _SCRIPTS / "60-slow"
        script.write_text(f'#!/bin/sh\n[ "$ACTION" = lock ] || sleep {_SLOW_S}\n')
        script.chmod(0o755)

    async def end(self, router: RouterUnderTest) -> None:
        (router.world.root / _SCRIPTS / "60-slow").unlink()


class _SlowClients(Disturbance):
    """They begin a request to the gateway and do not go on."""

    name = "slow clients"

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []

    async def begin(self, router: RouterUnderTest) -> None:
        address = urlsplit(router.world.front.url)
        self._writers = []
        for _ in range(_SLOW_CLIENTS):
            with suppress(OSError):
                _, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(_BEGUN)
                self._writers.append(writer)

    async def end(self, router: RouterUnderTest) -> None:
        del router
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _locked(text: str) -> str:
    return text.replace("unlocked '1'", "unlocked '0'")


def _unlocked(text: str) -> str:
    return text.replace("unlocked '0'", "unlocked '1'")


DEVICE_DISTURBANCES: tuple[Disturbance, ...] = (
    _Room("/etc full", flash=0),
    _Room("/etc nearly full", flash=300),
    _Room("/tmp full", tmp=0),
    _Room("/etc and /tmp full", flash=0, tmp=0),
    _Room("/etc read-only", read_only=True),
    _OwnMount(),
    _LostCommits(),
    _ParallelCommits(),
    _Edited("locked by hand", _locked),
    _Edited("unlocked by hand", _unlocked),
    _Edited("emptied", lambda _: ""),
    _Edited("malformed", lambda text: text[: len(text) // 2] + "'"),
    _Edited("removed", lambda _: None),
    BusAway(),
    _RpcdAway(),
    _ProcdAway(),
    _UhttpdAway(),
    _DaemonKilled(),
    _SlowScripts(),
    _SlowClients(),
)
