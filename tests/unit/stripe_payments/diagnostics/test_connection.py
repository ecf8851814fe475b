"""The way to Stripe, broken at each of its steps by a real fault of that step."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stripe
import trustme

from tests.unit.stripe_payments.diagnostics.conftest import KEY
from tests.unit.stripe_payments.diagnostics.rows import finding, fine, row
from tests.unit.stripe_payments.harness import Harness, Shop, open_harness

DAY = datetime.timedelta(days=1)


@contextlib.asynccontextmanager
async def server(context: ssl.SSLContext | None, *, mute: bool = False) -> AsyncIterator[int]:
    """Something that accepts connections; `mute`: and then says nothing at all. Gives its port."""
    held: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        if not mute:
            writer.write(b"SSH-2.0-OpenSSH_9.9\r\n" if context is None else b"HTTP/1.1 503 No\r\n\r\n")

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for writer in held:
            writer.transport.abort()


def certificate(authority: trustme.CA, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", **options).configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def harness_at(base: str, folder: Path) -> AsyncIterator[Harness]:
    async with open_harness(folder, STRIPE_API_BASE=base) as harness:
        await harness.call("set_keys", secret_key=KEY)
        yield harness


async def test_nothing_is_wrong(shop: Shop) -> None:
    for name in ("dns", "connection", "ca_bundle", "stripe", "clock"):
        await fine(shop.harness, name)
    await finding(shop.harness, "tls", "info", says="simulated")


async def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    async with harness_at("https://stripe.invalid", tmp_path) as harness:
        await finding(
            harness, "dns", "error", says="stripe.invalid" if await _resolves() else "", hint="nslookup"
        )
        await finding(harness, "connection", "info", says="earlier step")
        await finding(harness, "tls", "info", says="earlier step")
        await finding(harness, "stripe", "error", says="DNS lookup failed", hint="Name resolution")


async def _resolves() -> bool:
    """Whether this machine has a resolver that says "no such name" rather than nothing."""
    with contextlib.suppress(socket.gaierror):
        await asyncio.get_running_loop().getaddrinfo("stripe.invalid", 443)
    return True


@pytest.mark.parametrize(
    ("number", "says"), [(socket.EAI_AGAIN, "No DNS server answers"), (socket.EAI_NONAME, "do not resolve")]
)
async def test_no_dns_server_and_no_such_name_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    genuine = socket.getaddrinfo

    def resolver(host: Any, *args: Any, **options: Any) -> Any:
        if host == "stripe.invalid":
            raise socket.gaierror(number, "injected")
        return genuine(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    async with harness_at("https://stripe.invalid", tmp_path) as harness:
        await finding(harness, "dns", "error", says=says)


async def test_a_closed_port(offline: Harness) -> None:
    await fine(offline, "dns")
    await finding(offline, "connection", "error", says="refuses", hint="firewall")
    await finding(offline, "stripe", "error", says="refused")
    await finding(offline, "clock", "info", says="No trusted time yet")


async def test_a_certificate_of_an_unknown_authority(tmp_path: Path) -> None:
    async with (
        server(certificate(trustme.CA())) as port,
        harness_at(f"https://127.0.0.1:{port}", tmp_path) as harness,
    ):
        await fine(harness, "connection")
        await finding(harness, "tls", "error", says="is not trusted", hint="cannot be disabled")
        await finding(harness, "stripe", "error", says="no trusted TLS connection")


async def test_a_certificate_that_is_vouched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setattr(stripe, "ca_bundle_path", str(tmp_path / "authority.pem"))
    async with (
        server(certificate(authority)) as port,
        harness_at(f"https://127.0.0.1:{port}", tmp_path) as harness,
    ):
        english = await row(harness, "tls")
        assert english["severity"] == "ok"
        assert "TLSv1" in english["detail"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_clock_outside_the_certificates_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setattr(stripe, "ca_bundle_path", str(tmp_path / "authority.pem"))
    now = datetime.datetime.now(datetime.UTC)
    span = (
        {"not_before": now + 10 * DAY, "not_after": now + 20 * DAY}
        if when == "before"
        else {"not_before": now - 20 * DAY, "not_after": now - 10 * DAY}
    )
    async with (
        server(certificate(authority, **span)) as port,
        harness_at(f"https://127.0.0.1:{port}", tmp_path) as harness,
    ):
        await finding(harness, "tls", "error", says="router's clock", hint="sysntpd")


async def test_something_that_speaks_no_tls(tmp_path: Path) -> None:
    async with server(None) as port, harness_at(f"https://127.0.0.1:{port}", tmp_path) as harness:
        await fine(harness, "connection")
        await finding(harness, "tls", "error", says="TLS handshake", hint="captive portal")


async def test_a_bundle_that_is_gone_empty_or_damaged(shop: Shop, tmp_path: Path, monkeypatch: Any) -> None:
    bundle = tmp_path / "bundle.crt"
    monkeypatch.setattr(stripe, "ca_bundle_path", str(bundle))
    await finding(shop.harness, "ca_bundle", "error", says="is missing", hint="python3-stripe")
    bundle.write_text("")
    await finding(shop.harness, "ca_bundle", "error", says=str(bundle), hint="python3-stripe")
    bundle.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    await finding(shop.harness, "ca_bundle", "error", says="cannot be read", hint="python3-stripe")


async def test_stripe_has_a_bad_day(shop: Shop) -> None:
    shop.stripe.set_faults(status=503)
    await finding(shop.harness, "stripe", "error", says="HTTP 503", hint="status.stripe.com")
    shop.stripe.set_faults(status=429)
    await finding(shop.harness, "stripe", "warning", says="rate limiting")
    shop.stripe.set_faults()
    await fine(shop.harness, "stripe")


async def test_an_account_without_search(shop: Shop) -> None:
    shop.stripe.account.settings["search"] = False
    await shop.checkout()  # it is possible all the same
    await finding(shop.harness, "stripe", "info", says="Search API", hint="newest 100")


async def test_a_router_clock_that_is_wrong(shop: Shop) -> None:
    shop.stripe.advance(3 * 86_400)
    await finding(shop.harness, "clock", "warning", says="The router's clock is", hint="sysntpd")


async def test_a_line_that_hangs_holds_up_nothing_else(tmp_path: Path) -> None:
    async with (
        server(None, mute=True) as port,
        harness_at(f"http://127.0.0.1:{port}", tmp_path) as harness,
    ):
        reply = await asyncio.wait_for(harness.call("check"), 25)
        found = {one["id"]: one["severity"] for one in reply["checks"]}
        assert found["stripe"] == "error"
        assert found["ledger"] == found["connection"] == found["settings_helper"] == "ok"
