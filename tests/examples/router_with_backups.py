"""A simulated router on which the example package is installed, and the server that takes the backups.

The package's files are the example's; `openssl` and `curl` are real. What a router has and this machine
lacks is stood in for, below the router's own folder: `uci`, `logger`, `sysupgrade`, `sftp`, and as much
of OpenWrt's rc.common and procd as starts and stops one process.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from simulator.router.uci_file import parse
from simulator.world import World
from tools.ipk.makefiles import REPOSITORY

EXAMPLE = REPOSITORY / "docs/examples/remote-backup"
SERVICE = "etc/init.d/remote-backup"

FUNCTIONS = 'export PATH="$IPKG_INSTROOT/stand-ins:$PATH"\n'

RC_COMMON = """
. "$IPKG_INSTROOT/lib/functions.sh"
pid_file="$IPKG_INSTROOT/var/run/$(basename "$1").pid"
procd_open_instance() { command=; }
procd_set_param() { [ "$1" != command ] || { shift; command="$*"; }; }
procd_close_instance() {
	read -r pid 2>/dev/null <"$pid_file" || pid=none
	case "$(cut -d ' ' -f 3 "/proc/$pid/stat" 2>/dev/null)" in
	'' | Z) ;;
	*) return ;;
	esac
	setsid $command </dev/null >/dev/null 2>&1 &
	echo $! >"$pid_file"
}
. "$1"
case "$2" in
start) start_service ;;
stop) kill "$(cat "$pid_file")" ;;
esac
"""

# Enough for files that `uci` wrote itself: one statement a line, values in single quotes.
UCI = """#!/bin/sh
[ "$1 $2" = "-q get" ] || exit 9
config="${3%%.*}" option="${3##*.}" section="${3#*.}"
section="${section%.*}"
found="$(sed -n "/^config .*'$section'/,/^config/ s/^[[:space:]]*option $option '\\(.*\\)'$/\\1/p" \\
	"$IPKG_INSTROOT/etc/config/$config")"
[ "$section" != "@system[0]" ] || found=OpenWrt
[ -n "$found" ] && echo "$found"
"""

LOGGER = """#!/bin/sh
for word; do last="$word"; done
echo "$last" >>"$IPKG_INSTROOT/var/log/messages"
"""

SYSUPGRADE = """#!/bin/sh
[ "$1" = -b ] || exit 1
exec tar -czf "$2" -C "$IPKG_INSTROOT" etc/config etc/stripe-payments
"""

# Takes `put` and `rename` as the server would, into the router's folder `sftp-server`.
SFTP = """#!/bin/sh
echo "$*" >>"$IPKG_INSTROOT/var/log/sftp"
server="$IPKG_INSTROOT/sftp-server"
while read -r verb from to; do
	case "$verb" in
	put) cp "$from" "$server/$to" || exit 1 ;;
	rename) mv "$server/$from" "$server/$to" || exit 1 ;;
	*) exit 1 ;;
	esac
done
"""


# `ubus call stripe-payments statement` answers what the test wrote there.
UBUS = """#!/bin/sh
[ "$1 $2 $3" = "call stripe-payments statement" ] && cat "$IPKG_INSTROOT/var/run/statement-reply"
"""

JSONFILTER = f"""#!{sys.executable}
import json, sys
words = sys.argv[1:]
try:
    found = json.load(open(words[words.index("-i") + 1]) if "-i" in words else sys.stdin)
    for name in words[words.index("-e") + 1].removeprefix("@.").split("."):
        found = found[name]
    print(found)
except (OSError, ValueError, KeyError):
    sys.exit(1)
"""


class BackupServer:
    """An HTTPS server that stores what is put; `refuse` makes it answer 507."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refuse = False
        self.stored: dict[str, bytes] = {}
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """With a certificate of its own making."""
        import ssl

        certificate, key = make_certificate(self.folder, "server", "subjectAltName=IP:127.0.0.1")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_put("/{folder}/{name}", self._put)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Closes the port."""
        if self._runner:
            await self._runner.cleanup()

    async def _put(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.refuse:
            return web.Response(status=507)
        self.stored[request.match_info["name"]] = body
        return web.Response(status=201)


class RouterWithBackups:
    """The installed package on the router of a world."""

    def __init__(self, world: World, scratch: Path) -> None:
        self.world = world
        self.root = world.root
        self.certificate, self.key = make_certificate(scratch, "recipient")
        self._pid_file = self.root / "var/run/remote-backup.pid"

    def install(self) -> None:
        """What opkg does, and what the example's page says to do once."""
        shutil.copytree(EXAMPLE / "files", self.root, dirs_exist_ok=True)
        programs = {
            "uci": UCI,
            "logger": LOGGER,
            "sysupgrade": SYSUPGRADE,
            "sftp": SFTP,
            "ubus": UBUS,
            "jsonfilter": JSONFILTER,
        }
        for folder in (
            "stand-ins",
            "sftp-server/backups",
            "etc/remote-backup",
            "var/run",
            "var/lock",
            "var/log",
            "lib",
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for name, text in programs.items():
            (self.root / "stand-ins" / name).write_text(text)
            (self.root / "stand-ins" / name).chmod(0o755)
        (self.root / "lib/functions.sh").write_text(FUNCTIONS)
        (self.root / "etc/rc.common").write_text(RC_COMMON)
        shutil.copy(self.certificate, self.root / "etc/remote-backup/recipient.pem")

    def aim_at(self, target: str, audience: str = "") -> None:
        """`uci set remote-backup.main.target=…`, and of the audience."""
        config = self.root / "etc/config/remote-backup"
        options = f"\toption target '{target}'\n\toption audience '{audience}'\n"
        config.write_text(f"config remote_backup 'main'\n{options}")
        assert parse("remote-backup", config.read_text()).section("main")

    async def trust(self, authority: Path) -> None:
        """Accept certificates of an authority."""
        await asyncio.to_thread(shutil.copy, authority, self.root / "etc/remote-backup/ca.pem")

    async def init(self, command: str) -> None:
        """/etc/init.d/remote-backup COMMAND."""
        await self._run("/bin/sh", str(self.root / "etc/rc.common"), str(self.root / SERVICE), command)

    async def backup_now(self) -> tuple[int, str]:
        """`remote-backup now`: exit code and the log so far."""
        script = f'. "$IPKG_INSTROOT/lib/functions.sh"; exec {self.root}/usr/sbin/remote-backup now'
        code = await self._run("/bin/sh", "-c", script)
        return code, self.log()

    async def _run(self, *command: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "IPKG_INSTROOT": str(self.root)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await asyncio.wait_for(process.wait(), 60)

    def pid(self) -> int | None:
        """The service's process, while it runs."""
        if not self._pid_file.exists() or not self._pid_file.read_text().strip():
            return None
        pid = int(self._pid_file.read_text())
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return None
        return None if state == "Z" else pid

    def kill(self) -> None:
        """Ends the service with the test, and what it started."""
        import os

        if pid := self.pid():
            os.killpg(pid, signal.SIGKILL)

    def log(self) -> str:
        """What the scripts have logged."""
        file = self.root / "var/log/messages"
        return file.read_text() if file.exists() else ""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for `condition`."""

        async def holds() -> bool:
            return condition()

        try:
            await self.world.wait_until(holds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\nthe router's log:\n{self.log()}") from None

    def decrypted(self, backup: bytes, scratch: Path) -> list[str]:
        """The names in a backup, as its owner opens it."""
        encrypted, archive = scratch / "backup.cms", scratch / "backup.tar.gz"
        encrypted.write_bytes(backup)
        opened = ["-inkey", str(self.key), "-recip", str(self.certificate)]
        subprocess.run(
            [
                "openssl",
                "cms",
                "-decrypt",
                "-binary",
                "-inform",
                "DER",
                "-in",
                encrypted,
                "-out",
                archive,
                *opened,
            ],
            check=True,
            timeout=60,
        )
        with tarfile.open(archive) as tar:
            return tar.getnames()


def make_certificate(folder: Path, name: str, *extensions: str) -> tuple[Path, Path]:
    """A self-signed certificate, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    added = [part for extension in extensions for part in ("-addext", extension)]
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}"]
    subprocess.run(
        ["openssl", "req", *made, "-keyout", key, "-out", certificate, *added],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key
