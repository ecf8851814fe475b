"""Carries out one case of the gateway's table against a server, over a plain socket."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.gateway_cases import Case

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Answer:
    """A response as it came over the wire; header names lower-cased."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


async def exchange(host: str, port: int, case: Case) -> list[Answer]:
    """Send the case's request, and the one after it if the server keeps the connection. One answer each."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        answers = [await asyncio.wait_for(_one(reader, writer, host, case), PATIENCE_S)]
        if case.then is not None and answers[0].headers.get("connection", "").lower() != "close":
            answers.append(await asyncio.wait_for(_one(reader, writer, host, case.then), PATIENCE_S))
        return answers
    finally:
        await hang_up(writer)


async def status_of_long_head(host: str, port: int, lengths: Sequence[int]) -> int:
    """The status of a GET with headers of those lengths; the server may reset the connection at once."""

    def ask() -> bytes:
        head = "".join(f"X-{number}: {'a' * length}\r\n" for number, length in enumerate(lengths))
        with socket.create_connection((host, port), PATIENCE_S) as connection:
            connection.sendall(f"GET /api/payments/health HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
            return connection.recv(100)

    return int((await asyncio.to_thread(ask)).split()[1])


async def half_a_body(host: str, port: int) -> bytes:
    """The status line that a client receives which begins a webhook and stops in the middle."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b'POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n\r\n{"half":')
        await writer.drain()
        return await asyncio.wait_for(reader.readline(), PATIENCE_S)
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection that may be closed already."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def check(case: Case, answer: Answer, received: dict[str, Any] | None) -> None:
    """Assert what the case says of the answer, and of what the daemon received (None: it was not called)."""
    assert answer.status == case.status, answer
    if case.reason is not None:
        assert answer.reason == case.reason
    if case.content_type is not None:
        assert answer.headers.get("content-type", "").split(";")[0] == case.content_type
    if case.empty:
        assert answer.body == b""
    if case.error is not None:
        error = json.loads(answer.body)["error"]
        assert error["code"] == case.error
        assert error["message"]
    for name, value in case.response_headers.items():
        assert answer.headers.get(name) == value, name
    assert (received is not None) is case.reaches_daemon
    if received is None:
        return
    for name, expected in (case.received or {}).items():
        assert received[name] == expected, name
    for name, header in case.told_headers.items():
        assert received["headers"].get(name) == header, name


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, case: Case) -> Answer:
    head = [f"{case.method} {case.target} HTTP/1.1", f"Host: {host}"]
    head += [f"{name}: {value}" for name, value in case.headers]
    if case.chunks:
        head.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in case.chunks) + b"0\r\n\r\n"
    else:
        head += (
            [f"Content-Length: {len(case.body)}"] if case.body or case.method in ("POST", "DELETE") else []
        )
        body = case.body
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    sending = asyncio.create_task(writer.drain())
    answer = await _read(reader, case.method)
    await sending
    return answer


async def _read(reader: asyncio.StreamReader, method: str) -> Answer:
    status_line = (await reader.readline()).decode("latin-1").rstrip().split(" ", 2)
    if status_line[1:2] == ["100"]:  # Continue
        await reader.readline()
        return await _read(reader, method)
    headers: dict[str, str] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = b""
    if method == "HEAD":
        pass
    elif headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return Answer(int(status_line[1]), status_line[2] if len(status_line) > 2 else "", headers, body)
