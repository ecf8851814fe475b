"""The recordings of tests/vectors/wire, and a ubusd that plays its side of one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parents[2] / "vectors" / "wire"


@dataclass(frozen=True)
class Chunk:
    sender: Literal["client", "ubusd"]
    data: bytes


@dataclass(frozen=True)
class Recording:
    name: str
    connections: tuple[tuple[Chunk, ...], ...]
    printed: str
    printed_on_stderr: str

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        (only,) = self.connections
        return only

    def sent_by(self, sender: str) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks if chunk.sender == sender)


def _load(path: Path) -> Recording:
    raw = json.loads(path.read_text())
    connections = tuple(
        tuple(Chunk(chunk["from"], bytes.fromhex(chunk["hex"])) for chunk in connection)
        for connection in raw["connections"]
    )
    return Recording(path.stem, connections, raw.get("printed", ""), raw.get("printed_on_stderr", ""))


RECORDINGS = {path.stem: _load(path) for path in sorted(FOLDER.glob("*.json"))}
assert len(RECORDINGS) == 11, "the recordings are not where they should be"


class PlayedUbusd:
    """Says what ubusd said in a recording, each piece once the client has said what came before it.

    ``heard`` is all that the client really said. ``ended`` is set when the recording was played out, or the
    client left.
    """

    def __init__(self, recording: Recording, socket_path: Path) -> None:
        self._chunks = recording.chunks
        self.path = socket_path
        self.heard = b""
        self.ended = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> PlayedUbusd:
        self._server = await asyncio.start_unix_server(self._play, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        self._server.close()
        await self._server.wait_closed()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            for chunk in self._chunks:
                if chunk.sender == "ubusd":
                    writer.write(chunk.data)
                    await writer.drain()
                else:
                    self.heard += await reader.readexactly(len(chunk.data))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.heard += getattr(error, "partial", b"")
        finally:
            self.ended.set()
