"""A private PostgreSQL in a temporary folder: the distribution's programs, never the system's cluster.

PostgreSQL refuses to run as root, so for root it runs as the user `nobody`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg

__all__ = ["PostgreSQL", "program"]

_NOBODY = 65_534
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 1 << 30
"""What a cluster may take in memory: its files, its log of up to `max_wal_size`, and some databases."""


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs. Raises FileNotFoundError that says what to install."""
    found = shutil.which(name)
    if found is None:
        versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
        if not versions:
            raise FileNotFoundError(f"{name} is needed: apt-get install postgresql")
        found = str(versions[0])
    return found


def _parent() -> Path | None:
    """Memory where there is room: on a disk each database that is copied waits for those before it to be
    written. Otherwise None, the folder for temporary files.
    """
    has_room = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    return _MEMORY if has_room else None


class PostgreSQL:
    """A server with a Unix socket in its folder; `start` and `stop` as often as wanted, `remove` at the
    end. `on_disk`: even where there is room in memory; `primary`: the running server that this one is to be a
    streaming standby of.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        on_disk: bool = False,
        primary: PostgreSQL | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir=None if on_disk else _parent()))
        self._settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            **(settings or {}),
        }
        self._user = _NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self.folder, self._user, self._user)
        data = str(self.folder / "data")
        if primary is not None:
            self._run("pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "-d", primary.url())
            return
        self._run(
            "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        )

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = " ".join(f"-c {name}='{value}'" for name, value in self._settings.items())
        log = str(self.folder / "log")
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60", "-l", log, "-o", options, "start"
        )

    def stop(self, *, crash: bool = False) -> None:
        """Stop; `crash`: as by kill -9, and return when none of its processes is left."""
        if crash:
            children = self._children()
            for process in (self.pid, *children):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            deadline = time.monotonic() + 10
            while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
                time.sleep(0.01)
        else:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "fast", "stop")

    def promote(self) -> None:
        """End being a standby; returns when it takes writes."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60", "promote")

    def remove(self) -> None:
        """Stop and delete everything."""
        pid = self.folder / "data/postmaster.pid"
        if pid.exists() and Path(f"/proc/{self.pid}").exists():
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        port = self._settings.get("port", "5432")
        return f"postgresql://{user}@/{database}?host={self.folder}&port={port}"

    def create_database(self, template: str = "template1") -> str:
        """A new database, owned by the user `hub`, which may not go around row-level security; its name."""
        name = f"hub_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'hub'").fetchone() is None:
                connection.execute("CREATE ROLE hub LOGIN NOBYPASSRLS")
            connection.execute(f'CREATE DATABASE "{name}" OWNER hub TEMPLATE "{template}"'.encode())
        return name

    def drop_database(self, name: str) -> None:
        """Delete a database, and end what is still connected to it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    def _children(self) -> list[int]:
        pid = self.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return int((self.folder / "data/postmaster.pid").read_text().split()[0])

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            user=self._user,
            group=self._user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC"},
            check=False,
        )
        if done.returncode:
            log = self.folder / "log"
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"{name}: {done.stdout.decode(errors='replace')}{tail}")
