"""The ucode gateway in real uhttpd: on LuCI's own server, and on the public one with a certificate."""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conformance.echoing_daemon import EchoingDaemon, SilentDaemon
from tests.conformance.exchange import check, exchange, hang_up, status_of_long_head
from tests.conformance.gateway_cases import AWAY, CAP, CASES, HEALTH, LONG, LONG_HEADS, Case
from tests.conformance.script_slots import (
    BODY,
    CHUNKS,
    HEAD,
    slow_clients,
    three_slow_clients_hold_luci_as_long_as_their_bodies_may_take,
)
from tests.interop.openwrt import OpenWrt, free_port
from ubus_py import Client

GATEWAY = "/usr/share/stripe-payments/gateway.uc"


def address(openwrt: OpenWrt) -> tuple[str, int]:
    parts = urlsplit(openwrt.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


@pytest.fixture
async def daemon(openwrt: OpenWrt) -> AsyncIterator[EchoingDaemon]:
    """On the bus in the service's place."""
    echoing = EchoingDaemon()
    async with Client(openwrt.bus) as bus:
        await bus.publish(echoing.object())
        yield echoing


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(openwrt: OpenWrt, case: Case) -> None:
    daemon = EchoingDaemon()
    bus = Client(openwrt.bus)
    if case.daemon:
        await bus.start()
        await bus.publish(daemon.object())
    try:
        answers = await exchange(*address(openwrt), case)
    finally:
        await bus.close()
    for part, answer in zip([case, case.then], answers, strict=False):
        assert part is not None
        check(part, answer, daemon.received.pop(0) if part.reaches_daemon else None)
    assert daemon.received == []


@pytest.mark.parametrize(("lengths", "status"), LONG_HEADS.values(), ids=LONG_HEADS)
@pytest.mark.usefixtures("daemon")
async def test_long_heads(openwrt: OpenWrt, lengths: list[int], status: int) -> None:
    assert await status_of_long_head(*address(openwrt), lengths) == status


async def test_a_slow_body_is_waited_for(openwrt: OpenWrt, daemon: EchoingDaemon) -> None:
    reader, writer = await asyncio.open_connection(*address(openwrt))
    writer.write(b"POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
    for byte in b"abcdef":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.2)
    assert b"200 OK" in await reader.readline()
    await hang_up(writer)
    assert daemon.received[0]["body"] == "abcdef"


async def test_more_at_once_than_uhttpd_runs_are_all_answered(
    openwrt: OpenWrt, daemon: EchoingDaemon
) -> None:
    """Those that have to queue (max_requests is 3) never hear that their empty body has ended."""
    for case in (HEALTH, Case("no body", "/api/payments/webhook", method="POST")):
        answers = await asyncio.gather(*(exchange(*address(openwrt), case) for _ in range(24)))
        assert [answer.status for (answer,) in answers] == [200] * 24
    assert len(daemon.received) == 48


async def test_long_bodies_at_once_do_not_push_each_other_off_the_bus(
    openwrt: OpenWrt, daemon: EchoingDaemon
) -> None:
    """ubusd drops what is more than 1 MiB on its way to one process."""
    answers = await asyncio.gather(*(exchange(*address(openwrt), LONG) for _ in range(12)))
    assert [answer.status for (answer,) in answers] == [200] * 12
    assert [len(received["body"]) for received in daemon.received] == [CAP] * 12


async def test_half_a_body_never_reaches_the_daemon(openwrt: OpenWrt, daemon: EchoingDaemon) -> None:
    _, writer = await asyncio.open_connection(*address(openwrt))
    writer.write(b'POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n\r\n{"half":')
    await writer.drain()
    await hang_up(writer)
    answers = await exchange(*address(openwrt), HEALTH)
    assert answers[0].status == 200
    assert [received["path"] for received in daemon.received] == ["/api/payments/health"]


async def test_two_requests_at_once_on_one_connection_get_two_answers(
    openwrt: OpenWrt, daemon: EchoingDaemon
) -> None:
    reader, writer = await asyncio.open_connection(*address(openwrt))
    big = b"x" * 600_000
    writer.write(
        b"POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(big) + big
    )
    writer.write(b"GET /api/payments/second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await asyncio.wait_for(reader.read(), 30)).decode()
    await hang_up(writer)
    assert re.findall(r"HTTP/1.1 (\d+)", text)[0] == "413"
    assert [received["path"] for received in daemon.received] in ([], ["/api/payments/second"])


async def test_luci_is_still_there(openwrt: OpenWrt) -> None:
    page = openwrt.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{openwrt.url}/cgi-bin/luci/")
    assert page.stdout == "403"  # the login form


BODY_S = 5.0
"""BODY_TIMEOUT of the gateway."""


def no_script_runs(openwrt: OpenWrt) -> bool:
    """Scripts are forks of uhttpd; that of a client that has left ends at its own limit."""
    return len(openwrt.run("pidof", "uhttpd").stdout.split()) == 1


async def test_a_slow_client_holds_a_slot_of_luci_for_five_seconds_at_most(
    openwrt: OpenWrt, daemon: EchoingDaemon
) -> None:
    openwrt.wait_until(lambda: no_script_runs(openwrt), "no script of an earlier client runs")
    await three_slow_clients_hold_luci_as_long_as_their_bodies_may_take(*address(openwrt), BODY_S)
    assert daemon.received == []


@pytest.mark.usefixtures("daemon")
async def test_a_client_that_reads_nothing_holds_no_slot(openwrt: OpenWrt) -> None:
    request = b"GET /api/payments/health HTTP/1.1\r\nHost: x\r\n\r\n"
    async with slow_clients(*address(openwrt), *[request] * 6):
        (answer,) = await asyncio.wait_for(exchange(*address(openwrt), HEALTH), BODY_S)
        assert answer.status == 200


async def test_a_daemon_that_does_not_reply_is_not_waited_for_longer_than_a_buyer(openwrt: OpenWrt) -> None:
    """ubusd sends nothing to those who called a process that has crashed."""
    daemon = SilentDaemon()
    async with Client(openwrt.bus) as bus:
        await bus.publish(daemon.object())
        (answer,) = await asyncio.wait_for(exchange(*address(openwrt), AWAY), 30)
    check(AWAY, answer, None)


async def test_twenty_slow_clients_do_not_delay_a_webhook(openwrt: OpenWrt) -> None:
    """On the public server: of 100 webhooks each is answered within a second."""
    gateway = PublicGateway(openwrt)
    await asyncio.to_thread(gateway.open, None)
    try:
        beginnings = [b"", HEAD, BODY, CHUNKS] * 5
        webhook = Case("a webhook", "/api/payments/webhook", method="POST", body=b'{"id": "evt_1"}')
        times = []
        async with slow_clients("127.0.0.1", gateway.port, *beginnings):
            page = await asyncio.to_thread(
                openwrt.run, "curl", "-s", "-m", "1", f"{openwrt.url}/cgi-bin/luci/"
            )
            assert "luci_password" in page.stdout, "LuCI's server is another process"
            for _ in range(100):
                began = time.monotonic()
                (answer,) = await exchange("127.0.0.1", gateway.port, webhook)
                times.append(time.monotonic() - began)
                assert answer.headers["content-type"].startswith("application/json")
        assert sorted(times)[98] < 1.0
    finally:
        await asyncio.to_thread(gateway.close)


class PublicGateway:
    """uhttpd as the init script starts it for the internet's side."""

    def __init__(self, openwrt: OpenWrt) -> None:
        self.openwrt = openwrt
        self.port = free_port()

    def open(self, tls: Path | None) -> None:
        given = {"listen": f"127.0.0.1:{self.port}"}
        if tls is not None:
            given |= {"cert": str(tls / "cert.pem"), "key": str(tls / "key.pem")}
        self.openwrt.sh("uci -q delete stripe-payments.main.listen || :")
        self.openwrt.sh(f"uci add_list stripe-payments.main.listen={given.pop('listen')}")
        for option, value in given.items():
            self.openwrt.sh(f"uci set stripe-payments.main.{option}={value}")
        self.openwrt.sh("uci commit stripe-payments; /etc/init.d/stripe-payments start")
        self.openwrt.wait_until(lambda: self.fetch("/payment-success")[0] != 0, "the public gateway serves")

    def fetch(self, path: str, scheme: str = "") -> tuple[int, str]:
        scheme = scheme or ("https" if self._tls() else "http")
        done = self.openwrt.run(
            "curl", "-sk", "-m", "20", "-w", "\n%{http_code}", f"{scheme}://127.0.0.1:{self.port}{path}"
        )
        body, _, code = done.stdout.rpartition("\n")
        return int(code), body

    def _tls(self) -> bool:
        return bool(self.openwrt.run("uci", "-q", "get", "stripe-payments.main.cert").stdout)

    def close(self) -> None:
        self.openwrt.sh("/etc/init.d/stripe-payments stop")
        self.openwrt.wait_until(
            lambda: self.openwrt.pid_of("stripe-payments", "daemon") is None,
            "the daemon has left",
        )
        self.openwrt.sh(
            "for o in listen cert key; do uci -q delete stripe-payments.main.$o; done; uci commit"
        )


@pytest.fixture
def certificate(openwrt: OpenWrt) -> Path:
    folder = Path("/etc/stripe-payments-tls")
    openwrt.sh(
        f"mkdir -p {folder}; cd {folder}; openssl req -x509 -newkey ec -nodes "
        "-pkeyopt ec_paramgen_curve:P-256 -keyout key.pem -out cert.pem "
        "-days 2 -subj /CN=router.example 2>/dev/null"
    )
    return folder


async def test_the_public_side_serves_no_more_than_it_must(openwrt: OpenWrt, certificate: Path) -> None:
    gateway = PublicGateway(openwrt)
    try:
        await asyncio.to_thread(gateway.open, certificate)
        for path in ("/", "/cgi-bin/luci/", "/ubus", "/luci-static/resources/luci.js"):
            assert (await asyncio.to_thread(gateway.fetch, path))[0] in (403, 404), path
        for path in ("/api/payments/create-checkout-session", "/api/payments/session", "/api/payments"):
            assert (await asyncio.to_thread(gateway.fetch, path))[0] == 404, path
    finally:
        await asyncio.to_thread(gateway.close)


async def test_the_daemon_receives_the_true_scheme(
    openwrt: OpenWrt, daemon: EchoingDaemon, certificate: Path
) -> None:
    port = free_port()
    openwrt.background(
        "uhttpd", "-f", "-c", "/dev/null", "-h", "/tmp", "-D", "-o", "/api/payments", "-O", GATEWAY,
        "-s", f"127.0.0.1:{port}", "-C", f"{certificate}/cert.pem", "-K", f"{certificate}/key.pem",
    )  # fmt: skip
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(200):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            break
        except OSError:
            await asyncio.sleep(0.05)
    writer.write(b"GET /api/payments/health HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: gopher\r\n\r\n")
    assert b"200 OK" in await asyncio.wait_for(reader.readline(), 30)
    await hang_up(writer)
    assert daemon.received[0]["headers"]["x-forwarded-proto"] == "https"


def test_a_handler_that_does_not_compile_never_takes_luci_down(openwrt: OpenWrt) -> None:
    gateway = openwrt.root / GATEWAY.lstrip("/")
    good = gateway.read_text()
    openwrt.sh(". /usr/share/stripe-payments/gateway-mount.sh; unmount_gateway")
    try:
        gateway.write_text("{% this is no program")
        refused = openwrt.run("sh", "-c", ". /usr/share/stripe-payments/gateway-mount.sh; mount_gateway")
        assert refused.returncode == 1
        assert "does not compile" in refused.stderr
        assert GATEWAY not in openwrt.sh("uci show uhttpd")
    finally:
        gateway.write_text(good)
        openwrt.sh(". /usr/share/stripe-payments/gateway-mount.sh; mount_gateway; mount_gateway")
    assert openwrt.sh("uci get uhttpd.main.ucode_prefix").count(GATEWAY) == 3
    openwrt.wait_until(openwrt.serves, "LuCI serves")


def test_what_an_administrator_has_staged_is_not_published_by_mounting(openwrt: OpenWrt) -> None:
    openwrt.sh("uci set uhttpd.main.home=/tmp")
    refused = openwrt.run("sh", "-c", ". /usr/share/stripe-payments/gateway-mount.sh; mount_gateway")
    openwrt.sh("uci revert uhttpd")
    assert refused.returncode == 1
    assert openwrt.sh("uci get uhttpd.main.home") == "/www\n"


def test_the_gateways_own_texts_are_those_of_its_stand_in() -> None:
    """A reader of an error cannot tell which of the two wrote it."""
    repository = Path(__file__).parents[2]
    ucode = (repository / "files" / GATEWAY.lstrip("/")).read_text()
    python = (repository / "simulator/browser_front/gateway.py").read_text()
    for sentence in re.findall(r"'([A-Z][^']+\.)'", ucode):
        if "starting" not in sentence:
            assert sentence in python
