"""An HTTPS server that stores backups of routers whose owners pay for it.

    python backup_server.py --hub https://hub.example.org --audience https://backup.example.org \
        --folder /srv/backups --certificate fullchain.pem --key privkey.pem

`PUT /NAME` with `Authorization: Bearer STATEMENT` stores the body as FOLDER/ROUTER/NAME. The statement is a
JWT that the hub signed for this server (docs/hub.md); the router's id comes from it and from nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import logging
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

FEATURE = "remote_backup_daily"
ALGORITHM = "ES256"
"""Never taken from the statement: its header is written by whoever sends it."""
LEEWAY_S = 30
"""Difference between the clocks of the hub and of this machine."""
KEYS_LAST_S = 3600.0
FETCH_AGAIN_AFTER_S = 30.0
"""Between two requests for the hub's keys, whatever statements arrive."""
FETCH_TIMEOUT_S = 10.0
UPLOAD_TIMEOUT_S = 900.0
LONGEST_KEYS = 64 * 1024
LARGEST_BACKUP = 16 * 1024 * 1024
BACKUPS_KEPT = 60
ROUTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

log = logging.getLogger("backup_server")


class Refused(HTTPException):
    """A request that is answered with an error: a code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(status, message, {name.replace("_", "-"): text for name, text in headers.items()})
        self.code = code


class HubKeys:
    """The hub's public keys, cached. They are fetched again when they are old, and for a key id that is not
    among them (the hub has rotated its keys). Those that are cached stay if that fails.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> jwt.PyJWK:
        """Raises Refused: 401 for a key that the hub does not have, 503 where it cannot be reached."""
        async with self._lock:
            now = self._clock()
            old = self._fetched_at is None or now - self._fetched_at > KEYS_LAST_S
            wait = 0.0 if self._tried_at is None else self._tried_at + FETCH_AGAIN_AFTER_S - now
            if (old or kid not in self._keys) and wait <= 0:
                self._tried_at, wait = now, FETCH_AGAIN_AFTER_S
                if await self._fetch():
                    self._fetched_at, wait = now, 0.0
            if kid in self._keys:
                return self._keys[kid]
        if wait <= 0:
            raise _invalid("The statement is signed with a key that the hub does not have.")
        raise Refused(
            503,
            "keys_unavailable",
            "The key of this statement is not known here, and the hub's keys cannot be fetched at the moment."
            f" Try again in {wait:.0f} seconds.",
            Retry_After=f"{wait:.0f}",
        )

    async def _fetch(self) -> bool:
        try:
            document = await asyncio.to_thread(self._download)
            self._keys = {
                key["kid"]: jwt.PyJWK(key, ALGORITHM) for key in document["keys"] if key.get("crv") == "P-256"
            }
        except (OSError, http.client.HTTPException, jwt.PyJWTError) as error:
            log.warning("the hub's keys cannot be fetched, those in the cache stay: %s", error)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("the hub's answer is no set of keys, those in the cache stay: %r", error)
        else:
            return True
        return False

    def _download(self) -> Any:
        with urllib.request.urlopen(self._url, timeout=FETCH_TIMEOUT_S) as response:  # noqa: S310
            if response.url != self._url:
                raise ValueError(f"redirected to {response.url}")
            body: bytes = response.read(LONGEST_KEYS + 1)
        if len(body) > LONGEST_KEYS:
            raise ValueError("too long")
        return json.loads(body)


class BackupServer:
    """`issuer`: the hub's address, as it is in statements; `audience`: this server, as routers name it."""

    def __init__(
        self, keys: HubKeys, issuer: str, audience: str, folder: Path, largest: int = LARGEST_BACKUP
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._folder = folder
        self._largest = largest

    async def put(self, request: Request) -> JSONResponse:
        """201 when the backup is on the disk under its name; before that there is nothing under that name."""
        router = await self._paying_router(request)
        name = request.path_params["name"]
        if not NAME.fullmatch(name):
            raise Refused(
                400,
                "name_invalid",
                "The name of a backup begins with a letter or digit and has at most 100 characters:"
                " letters, digits, '.', '_' and '-'.",
            )
        folder = self._folder / router
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".incoming-") as incoming:
            size = await self._receive(request, incoming.file)
            await asyncio.to_thread(_publish, incoming, folder / name)
        _forget_oldest(folder)
        log.info("stored: router=%s name=%s bytes=%d", router, name, size)
        return JSONResponse({"stored": name, "bytes": size}, 201)

    async def _paying_router(self, request: Request) -> str:
        """The router that the statement is about. Raises Refused."""
        scheme, _blank, statement = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not statement.strip():
            raise Refused(
                401,
                "statement_missing",
                "A statement of the hub is needed: Authorization: Bearer …",
                WWW_Authenticate="Bearer",
            )
        try:
            header = jwt.get_unverified_header(statement.strip())
            if header.get("alg") != ALGORITHM:
                raise jwt.InvalidAlgorithmError(f"only {ALGORITHM} is accepted")
            claims = jwt.decode(
                statement.strip(),
                await self._keys.find(str(header.get("kid"))),
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["iss", "aud", "sub", "exp", "iat"], "strict_aud": True},
            )
        except jwt.ExpiredSignatureError:
            raise _invalid("The statement has expired: request another one from the hub.") from None
        except jwt.InvalidAudienceError:
            raise _invalid(f"The statement is for another service, not for {self._audience}.") from None
        except jwt.PyJWTError as error:
            raise _invalid(f"The statement is not valid: {error}.") from None
        router, features = claims["sub"], claims.get("features")
        if not ROUTER.fullmatch(router) or not isinstance(features, list):
            raise _invalid("The statement is not about a router.")
        if FEATURE not in features:
            raise Refused(
                403,
                "feature_locked",
                f"This router has not paid for {FEATURE}: buy it in LuCI under Payments.",
            )
        return str(router)

    async def _receive(self, request: Request, incoming: Any) -> int:
        """Write the body to a file; its length in bytes. Nothing larger than allowed is ever on the disk."""
        announced = request.headers.get("content-length", "")
        received = 0
        if announced.isdigit() and int(announced) > self._largest:
            raise self._too_large()
        try:
            async with asyncio.timeout(UPLOAD_TIMEOUT_S):
                async for chunk in request.stream():
                    received += len(chunk)
                    if received > self._largest:
                        raise self._too_large()
                    incoming.write(chunk)
        except ClientDisconnect:
            raise Refused(400, "incomplete", "The connection ended before the backup did.") from None
        except TimeoutError:
            raise Refused(408, "too_slow", "The backup did not arrive in time.", Connection="close") from None
        if not received:
            raise Refused(400, "empty", "The backup is empty.")
        return received

    def _too_large(self) -> Refused:
        return Refused(413, "too_large", f"A backup has at most {self._largest} bytes.")


def _invalid(message: str) -> Refused:
    return Refused(401, "statement_invalid", message, WWW_Authenticate="Bearer")


def _publish(incoming: Any, path: Path) -> None:
    """Give a complete file its name, durably. An older backup is never replaced: a stolen router could."""
    incoming.flush()
    os.fsync(incoming.fileno())
    try:
        os.link(incoming.name, path)
    except FileExistsError:
        raise Refused(409, "exists", "There is a backup of that name already.") from None
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _forget_oldest(folder: Path) -> None:
    backups = [file for file in folder.iterdir() if not file.name.startswith(".")]
    for file in sorted(backups, key=lambda file: file.stat().st_mtime)[:-BACKUPS_KEPT]:
        file.unlink(missing_ok=True)


async def _answer(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        log.error("a request failed", exc_info=error)
        error = Refused(500, "internal_error", "The backup could not be stored.")
    if not isinstance(error, Refused):
        error = Refused(
            error.status_code, "not_found", "A backup is stored with PUT /NAME, and nothing else."
        )
    body = {"error": {"code": error.code, "message": error.detail}}
    return JSONResponse(body, error.status_code, error.headers)


def create_app(server: BackupServer) -> Starlette:
    routes = [Route("/{name}", server.put, methods=["PUT"])]
    return Starlette(routes=routes, exception_handlers={HTTPException: _answer, Exception: _answer})


def _https(address: str) -> str:
    """Plain http only on this machine."""
    if not re.match(r"https://[^/]|http://(127\.0\.0\.1|localhost)(:\d+)?(/|$)", address):
        raise argparse.ArgumentTypeError("an https address is needed")
    return address.rstrip("/")


def main() -> None:
    parser = argparse.ArgumentParser(description="Store backups of routers that have paid for it.")
    parser.add_argument("--hub", required=True, type=_https, help="the hub's address (HUB_URL of the hub)")
    parser.add_argument("--keys", type=_https, help="where the hub's keys are (default: below --hub)")
    parser.add_argument("--audience", required=True, help="what statements for this server are made out to")
    parser.add_argument("--folder", required=True, type=Path, help="each router gets a folder below it")
    parser.add_argument("--certificate", required=True, type=Path, help="PEM, with its chain")
    parser.add_argument("--key", required=True, type=Path, help="PEM")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a server for the internet
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--largest", type=int, default=LARGEST_BACKUP, help="bytes of a backup")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left_over in options.folder.glob("*/.incoming-*"):
        left_over.unlink()
    keys = HubKeys(options.keys or f"{options.hub}/.well-known/jwks.json")
    server = BackupServer(keys, options.hub, options.audience, options.folder, options.largest)
    uvicorn.run(
        create_app(server),
        host=options.host,
        port=options.port,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        access_log=False,
        log_config=None,
        h11_max_incomplete_event_size=16 * 1024,
        limit_concurrency=200,
    )


if __name__ == "__main__":
    main()
