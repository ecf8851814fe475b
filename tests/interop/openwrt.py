"""A real OpenWrt userland (ubusd, procd, rpcd, uhttpd, logd, LuCI) over this machine's root, in namespaces.

`OPENWRT_STAGING` names the tree it was built into; its `rootfs` holds a router's files at their final paths.
The network is not separated: servers listen on this machine's loopback, and a Stripe simulator there can be
reached.
"""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

BOOT: Final = Path(__file__).with_name("boot_router.sh")
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM_SERVICES: Final = ("rpcd", "uhttpd")
UNSHARE: Final = ("unshare", "-m", "-p", "-u", "--fork", "--kill-child")


class OpenWrt:
    """One router. `prepare` is called with the folder of its files before it boots."""

    def __init__(self, staging: Path, prepare: Callable[[Path], None] = lambda files: None) -> None:
        self._staging = staging
        self._prepare = prepare
        self._scratch = Path(tempfile.mkdtemp(prefix="openwrt-"))
        self._unshare: subprocess.Popen[str] | None = None
        self._init = 0
        self.root = self._scratch / "root"
        """The router's `/`: a path that means the same on this machine and on the router."""
        self.url = ""

    @property
    def bus(self) -> str:
        """ubusd's socket, from this machine."""
        return str(self.root / "run/ubus/ubus.sock")

    def start(self) -> None:
        """Boot it; returns when rpcd and uhttpd serve."""
        files, mount = self._scratch / "files", self._scratch / "mount"
        mount.mkdir(parents=True)
        shutil.copytree(self._staging / "rootfs", files, symlinks=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        uhttpd = files / "etc/config/uhttpd"
        uhttpd.write_text(uhttpd.read_text().replace("@PORT@", str(port)))
        _use_only(files / "etc/init.d", SYSTEM_SERVICES)
        self._prepare(files)
        self._unshare = subprocess.Popen(
            [*UNSHARE, "/bin/sh", str(BOOT), str(mount), str(files), str(self.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._unshare.stdout is not None
        if not any(line.strip() == "booted" for line in self._unshare.stdout):
            raise RuntimeError("the router did not boot")
        pid = self._unshare.pid
        self._init = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        self.root.symlink_to(f"/proc/{self._init}/root")
        for service in SYSTEM_SERVICES:
            self.sh(f"/etc/init.d/{service} start")
        self.sh("ubus -t 20 wait_for session uci")
        self.wait_until(self.serves, "uhttpd serves")

    def stop(self) -> None:
        """Cut its power."""
        if self._unshare is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init or self._unshare.pid, signal.SIGKILL)
            self._unshare.wait(20)
            for pipe in (self._unshare.stdin, self._unshare.stdout):
                if pipe is not None:
                    pipe.close()
            self._unshare = None
        shutil.rmtree(self._scratch, ignore_errors=True)

    def run(
        self,
        *command: str,
        text: str | None = None,
        user: str | None = None,
        environment: dict[str, str] | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the router, as root or as `user`; its exit code is the caller's to check."""
        drop: list[str] = []
        if user:
            group = self.sh(f"id -g {user}").strip()  # a user's group may have another name: nogroup
            drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        return subprocess.run(
            [*self.command(**(environment or {})), *drop, *command],
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def command(self, **environment: str) -> list[str]:
        """What to put before a command so that it runs on the router."""
        variables = {"PATH": PATH, "HOME": "/root", **environment}
        enter = ["nsenter", "-t", str(self._init), "-m", "-p", "-u", "-r", "-w"]
        return [*enter, "env", "-i", *(f"{name}={value}" for name, value in variables.items())]

    def sh(self, script: str) -> str:
        """Run a line of shell that must not fail; returns what it printed."""
        done = self.run("sh", "-c", script)
        assert done.returncode == 0, f"{script}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def background(self, *command: str) -> None:
        """Start a program on the router that outlives this call."""
        self.sh(f"setsid {shlex.join(command)} </dev/null >/dev/null 2>&1 &")

    def log(self) -> str:
        """The system log."""
        return self.run("logread").stdout

    def pid_of(self, service: str, instance: str) -> int | None:
        """The process of a service's instance as procd knows it; None while it does not run."""
        query = f"@['{service}'].instances.{instance}.pid"
        found = self.sh(f'ubus call service list | jsonfilter -e "{query}" || :').strip()
        return int(found) if found else None

    def serves(self) -> bool:
        """Whether the web server takes connections."""
        host, port = self.url.removeprefix("http://").split(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False

    def wait_until(self, condition: Callable[[], bool], what: str, patience_s: float = 40.0) -> None:
        """Wait for a condition; the end of the log is in the error."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                tail = "\n".join(self.log().splitlines()[-40:])
                raise TimeoutError(f"not within {patience_s} s: {what}\n{tail}")
            time.sleep(0.05)


def _use_only(folder: Path, names: tuple[str, ...]) -> None:
    """The machine's own init scripts are no router's: hide them behind whiteouts."""
    machine = Path("/etc/init.d")
    for script in sorted(machine.iterdir()) if machine.is_dir() else ():
        if script.name not in names and not (folder / script.name).exists():
            os.mknod(folder / script.name, 0o600 | 0o020000, os.makedev(0, 0))
    for script in sorted(folder.iterdir()):
        if script.is_file() and script.name not in names:
            script.unlink()


def free_port() -> int:
    """A port of the loopback that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
