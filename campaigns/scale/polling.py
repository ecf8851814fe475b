"""Polls over real sockets: at the moments that the fleet's own schedule says, and long ones that wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from campaigns.scale.generated_fleet import GeneratedFleet
from stripe_payments.hub_client import seller

__all__ = ["Polled", "due_polls", "long_polls", "poll", "poll_request", "pss_mib"]

CONNECTIONS = 64
"""As a reverse proxy keeps them."""


def poll_request(secret: str, etag: str, wait: int | None = None) -> bytes:
    """As the router sends it."""
    prefer = f"Prefer: wait={wait}\r\n" if wait is not None else ""
    head = (
        "GET /v1/state HTTP/1.1\r\nHost: hub.example.org\r\nAccept: application/json\r\n"
        f"Accept-Language: en\r\nAuthorization: Bearer {secret}\r\nIf-None-Match: {etag}\r\n{prefer}\r\n"
    )
    return head.encode()


@dataclass
class Polled:
    """`latencies`: seconds from the moment at which a poll was due to its answer; `statuses`: how many of
    each; `received`: bytes of the last answer.
    """

    latencies: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    received: int = 0

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self.answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if ended and len(body) >= int(length or 0) and self.answer is not None and not self.answer.done():
            whole, self._received = self._received, b""
            self.answer.set_result(whole)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionResetError())

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        assert self._transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self.answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def _connections(port: int, count: int) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        _transport, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        made.append(connection)
    return made


def due_polls(routers: int, interval: float, seconds: float, chance: Random) -> list[tuple[float, int]]:
    """The polls of a fleet that has been running for long, in so many seconds: when, and of which router.
    Each router's comes an interval after the one before, with the jitter of the daemon's schedule.
    """
    jitter = seller._JITTER
    due = []
    for number in range(1, routers + 1):
        at = chance.uniform(0, interval * chance.uniform(1 - jitter, 1 + jitter))
        if at < seconds:
            due.append((at, number))
    return sorted(due)


async def poll(port: int, fleet: GeneratedFleet, due: Sequence[tuple[float, int]], catalog: int) -> Polled:
    """Each at its moment; one that finds no free connection waits for it, and its time counts."""
    polled = Polled()
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    connections = await _connections(port, CONNECTIONS)
    for connection in connections:
        free.put_nowait(connection)
    began = time.perf_counter()

    async def one(at: float, number: int) -> None:
        connection = await free.get()
        etag = f'"{fleet.account(number)[:8]}-1-{catalog}"'
        answer = await connection.send(poll_request(fleet.secret(number), etag))
        free.put_nowait(connection)
        polled.latencies.append(time.perf_counter() - began - at)
        status = answer[9:12].decode()
        polled.statuses[status] = polled.statuses.get(status, 0) + 1
        polled.received = len(answer)

    running = []
    for at, number in due:
        if (pause := at - (time.perf_counter() - began)) > 0:
            await asyncio.sleep(pause)
        running.append(asyncio.create_task(one(at, number)))
    await asyncio.gather(*running)
    for connection in connections:
        connection.close()
    return polled


async def long_polls(
    port: int, fleet: GeneratedFleet, count: int, catalog: int, pid: int, wait_s: int
) -> tuple[float, int]:
    """So many routers that wait for a change at the same time, each on a connection of its own: the memory of
    the process in MiB while all of them wait, and how many were answered 304 in the end.
    """
    versions = dict(await asyncio.to_thread(fleet.rows, "SELECT id, version FROM accounts"))
    connections = await _connections(port, count)
    answers = [
        connection.send(
            poll_request(
                fleet.secret(number),
                f'"{fleet.account(number)[:8]}-{versions[fleet.account(number)]}-{catalog}"',
                wait=wait_s,
            )
        )
        for number, connection in enumerate(connections, 1)
    ]
    most = 0.0
    while not any(answer.done() for answer in answers):
        most = max(most, pss_mib(pid))
        await asyncio.sleep(0.5)
    answered = await asyncio.gather(*answers)
    for connection in connections:
        connection.close()
    return most, sum(answer.startswith(b"HTTP/1.1 304") for answer in answered)


def pss_mib(pid: int) -> float:
    """The process's own memory and its share of what others use as well."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory")
