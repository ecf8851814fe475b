"""The example server as a process, over TLS: it stores backups of routers that have paid, nothing else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import pytest
import trustme
from aiohttp import web
from backup_server import HubKeys, Refused
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from payments_hub.statements import Signer, rotate_keys
from simulator.world import World
from stripe_payments.entitlements import Entitlement
from tests.examples.router_with_backups import RouterWithBackups
from tools.ipk.makefiles import REPOSITORY

PROGRAM: Final = REPOSITORY / "docs/examples/entitled-backup-server/backup_server.py"
AUDIENCE: Final = "https://backup.example.org"
ROUTER: Final = "0123456789abcdef0123456789abcdef"
LARGEST: Final = 200_000
PATIENCE_S: Final = 30.0


@dataclass
class KeysOfHub:
    """The hub, as the server meets it: `/.well-known/jwks.json`, and statements signed with those keys."""

    file: Path
    url: str = ""
    away: bool = False
    fetches: int = 0

    @asynccontextmanager
    async def served(self) -> AsyncIterator[KeysOfHub]:
        rotate_keys(self.file)
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self._jwks)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield self
        await runner.cleanup()

    @property
    def signer(self) -> Signer:
        return Signer.load(self.file, self.url)

    def statement(
        self,
        *,
        audience: str = AUDIENCE,
        feature: str = "remote_backup_daily",
        age: int = 0,
        router: str = ROUTER,
    ) -> str:
        held = Entitlement(feature, unlocked=True, source="sub_1", plan="premium", reason="paid")
        return self.signer.statement(router, audience, {feature: held}, now=int(time.time()) - age)

    async def _jwks(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        return web.Response(status=502) if self.away else web.json_response(self.signer.jwks())


@dataclass
class Server:
    """The program, running."""

    hub: KeysOfHub
    url: str
    folder: Path
    trust: ssl.SSLContext

    async def put(
        self, statement: str | None, name: str = "backup.cms", body: Any = b"encrypted"
    ) -> tuple[int, Any]:
        """Status, and the error's code (the name that was stored for 201)."""
        headers = {"Authorization": f"Bearer {statement}"} if statement is not None else {}
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self.url}/{name}", data=body, headers=headers, ssl=self.trust) as response,
        ):
            reply = await response.json()
            if response.status == 201:
                return 201, reply["stored"]
            assert len(reply["error"]["message"]) > 15, "a sentence"
            return response.status, reply["error"]["code"]

    def stored(self) -> dict[str, bytes]:
        return {
            str(file.relative_to(self.folder)): file.read_bytes()
            for file in self.folder.rglob("*")
            if file.is_file()
        }


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[KeysOfHub]:
    async with KeysOfHub(tmp_path / "signing-keys.json").served() as hub:
        yield hub


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


@pytest.fixture
async def server(hub: KeysOfHub, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(hub, hub.url, authority, tmp_path) as server:
        yield server


@asynccontextmanager
async def serving(hub: KeysOfHub, url: str, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[Server]:
    """The program, with statements of the hub at `url`."""
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "server.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    options = {
        "hub": url,
        "audience": AUDIENCE,
        "folder": tmp_path / "backups",
        "certificate": tmp_path / "server.pem",
        "key": tmp_path / "server.key",
        "host": "127.0.0.1",
        "port": 0,
        "largest": LARGEST,
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), *arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while b"running on https://" not in (line := await process.stderr.readline()):
                assert line, "it ended"
        reading = asyncio.create_task(process.stderr.read())
        url = line.decode().split("running on ")[1].split()[0]
        yield Server(hub, url, tmp_path / "backups", trust)
    finally:
        process.terminate()
        await process.wait()
    assert b"Traceback" not in await reading


def _unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "", "none", headers={"kid": "none"})


def _signed_with_public_key(signer: Signer, claims: dict[str, Any]) -> str:
    """HS256 with the public key's text as the secret, for who takes the algorithm from the header."""
    (shown,) = signer.jwks()["keys"]
    pem = jwt.PyJWK(shown).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [{"alg": "HS256", "typ": "JWT", "kid": shown["kid"]}, claims]
    signing_input = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts
    )
    signature = hmac.new(pem, signing_input, hashlib.sha256).digest()
    return (signing_input + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def test_only_a_valid_statement_for_the_feature_stores(server: Server, tmp_path: Path) -> None:
    hub = server.hub
    good = hub.statement()
    claims = jwt.decode(good, options={"verify_signature": False})
    header, _payload, signature = good.split(".")
    other_router = (
        base64.urlsafe_b64encode(json.dumps(claims | {"sub": "f" * 32}).encode()).rstrip(b"=").decode()
    )
    thief = replace(hub, file=tmp_path / "keys-of-a-thief.json")
    rotate_keys(thief.file)
    refused = {
        "none": (None, "statement_missing"),
        "not a JWT": ("abc", "statement_invalid"),
        "for another service": (
            hub.statement(audience="https://monitoring.example.org"),
            "statement_invalid",
        ),
        "expired": (hub.statement(age=700), "statement_invalid"),
        "of another hub": (
            Signer.load(hub.file, "https://other.example.org").statement(ROUTER, AUDIENCE, {}),
            "statement_invalid",
        ),
        "without a signature": (_unsigned(claims), "statement_invalid"),
        "HS256 with the public key": (_signed_with_public_key(hub.signer, claims), "statement_invalid"),
        "another router's name put in": (f"{header}.{other_router}.{signature}", "statement_invalid"),
        "a path in place of a router": (hub.statement(router="../elsewhere"), "statement_invalid"),
        "no feature": (hub.statement(feature="monitoring"), "feature_locked"),
    }
    for why, (statement, code) in refused.items():
        expected = (403 if code == "feature_locked" else 401, code)
        assert await server.put(statement) == expected, why
    assert server.stored() == {}
    assert hub.fetches == 1
    assert await server.put(good) == (201, "backup.cms")
    assert await server.put(hub.statement(router="f" * 32), body=b"of another router") == (201, "backup.cms")
    stored = {f"{ROUTER}/backup.cms": b"encrypted", f"{'f' * 32}/backup.cms": b"of another router"}
    assert server.stored() == stored

    assert await server.put(good, body=b"overwritten") == (409, "exists")
    assert await server.put(good, name="%2e%2e%2fbackup.cms") == (404, "not_found")
    assert await server.put(good, name=".hidden") == (400, "name_invalid")
    assert await server.put(good, name="empty", body=b"") == (400, "empty")
    assert await server.put(good, name="large", body=b"x" * (LARGEST + 1)) == (413, "too_large")
    assert await server.put(good, name="chunked", body=_chunks(LARGEST + 1)) == (413, "too_large")
    assert server.stored() == stored
    assert await server.put(good, name="largest", body=_chunks(LARGEST)) == (201, "largest")
    assert len(server.stored()[f"{ROUTER}/largest"]) == LARGEST


async def test_the_package_backs_up_with_a_statement_of_the_seller(server: Server, tmp_path: Path) -> None:
    async with World(state=tmp_path / "world") as world:
        router = RouterWithBackups(world, tmp_path)
        router.install()
        await router.trust(tmp_path / "ca.pem")
        router.aim_at(server.url, AUDIENCE)
        await world.bus.call("stripe-payments", "grant", {"feature": "remote_backup_daily"})
        await router.until(lambda: "only a router in hub mode" in router.log())
        reply = router.root / "var/run/statement-reply"
        for text, said in [
            ({"error": {"code": "seller_unreachable", "message": "The seller is away."}}, "seller is away."),
            ({"statement": server.hub.statement(feature="monitoring")}, "has not paid for remote_backup"),
        ]:
            reply.write_text(json.dumps(text))
            code, log = await router.backup_now()
            assert (code, said in log.splitlines()[-2]) == (1, True), log
        assert server.stored() == {}
        statement = server.hub.statement()
        reply.write_text(json.dumps({"statement": statement}))
        assert (await router.backup_now())[0] == 0
        (stored,) = server.stored()
        assert stored.startswith(f"{ROUTER}/OpenWrt-")
        assert statement not in router.log()
        router.kill()


async def test_an_upload_that_breaks_off_leaves_nothing(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=server.trust)
    request = f"PUT /half.cms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.hub.statement()}\r\n"
    writer.write(f"{request}Content-Length: 1000\r\n\r\nhalf".encode())
    await writer.drain()
    await _until(lambda: any(".incoming-" in name for name in server.stored()))
    writer.transport.abort()
    await _until(lambda: server.stored() == {})


async def test_the_keys_are_cached_and_stay_while_the_hub_is_away(server: Server) -> None:
    hub = server.hub
    hub.away = True
    assert await server.put(hub.statement()) == (503, "keys_unavailable"), "nothing is known of the hub yet"
    hub.away = False
    assert await server.put(hub.statement()) == (503, "keys_unavailable"), "one request in 30 s"
    assert hub.fetches == 1


async def test_keys_are_fetched_when_old_or_unknown_and_kept_when_that_fails(hub: KeysOfHub) -> None:
    """With a clock of the test's own; everything else is as in the program."""
    now = 0.0
    keys = HubKeys(f"{hub.url}/.well-known/jwks.json", lambda: now)

    async def find(kid: str) -> int:
        """200, or the error's status."""
        try:
            return 200 if (await keys.find(kid)).key_id == kid else 500
        except Refused as error:
            return error.status_code

    (first,) = [key["kid"] for key in hub.signer.jwks()["keys"]]
    assert await find(first) == 200
    for elapsed, away, expected, fetches in [
        (3000.0, False, 200, 1),  # cached
        (4000.0, True, 200, 2),  # old; the hub is away
        (4010.0, True, 200, 2),
        (4100.0, True, 200, 3),
        (9_000_000.0, True, 200, 4),
        (9_000_100.0, False, 200, 5),
        (9_000_200.0, False, 200, 5),
    ]:
        now, hub.away = elapsed, away
        assert (await find(first), hub.fetches) == (expected, fetches), elapsed
    for elapsed, kid, away, expected, fetches in [
        (9_000_201.0, "unknown", False, 401, 6),
        (9_000_202.0, "unknown", False, 503, 6),  # a flood of ids is not a flood of requests
        (9_000_240.0, "unknown", True, 503, 7),
        (9_000_241.0, first, True, 200, 7),
    ]:
        now, hub.away = elapsed, away
        assert (await find(kid), hub.fetches) == (expected, fetches), elapsed
    hub.away = False
    second = rotate_keys(hub.file)
    now = 9_000_300.0
    assert (await find(second), await find(first), hub.fetches) == (200, 200, 8)
    third = rotate_keys(hub.file)
    now = 9_000_400.0
    assert (await find(third), await find(second), await find(first)) == (200, 200, 503)
    now = 9_000_500.0
    assert await find(first) == 401, "two rotations later"


async def _chunks(size: int) -> AsyncIterator[bytes]:
    """A body whose length is not announced."""
    for start in range(0, size, 10_000):
        yield b"x" * min(10_000, size - start)


async def _until(holds: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)
