"""`managed`: the seller's methods are not on the bus; root's shell has them through a socket of its own."""

import asyncio
import json
import os
import stat
from collections.abc import Sequence
from typing import Any

import pytest

from stripe_payments.bus_api import api
from stripe_payments.bus_method import ADMIN
from tests.unit.stripe_payments.harness import FEATURE, Harness, Shop
from ubus_py import Status, StatusError

SELLER = {"grant", "grants", "provision", "refund", "revoke", "set_keys", "setup_webhook"}
EVERYTHING = {method.name for method in api if not method.hub_mode}


async def published(harness: Harness) -> set[str]:
    (info,) = await harness.bus.lookup("stripe-payments")
    return set(info.methods)


async def manage(harness: Harness, value: str = "1") -> None:
    """Returns when the bus shows it."""
    await harness.configure("main", managed=value)
    wanted = EVERYTHING - SELLER if value == "1" else EVERYTHING

    async def shown() -> bool:
        return await published(harness) == wanted

    await harness.until(shown)


def test_the_sellers_methods_are_those_of_the_right_admin() -> None:
    assert {method.name for method in api if method.right == ADMIN} == SELLER


async def test_the_sellers_methods_leave_the_bus_and_return(harness: Harness) -> None:
    assert await published(harness) == EVERYTHING
    await manage(harness)
    assert (await harness.call("status"))["managed"] is True
    for name in sorted(SELLER):
        with pytest.raises(StatusError) as refused:
            await harness.call(name, feature=FEATURE)
        assert (refused.value.status, refused.value.data) == (Status.METHOD_NOT_FOUND, None), name
    await manage(harness, "0")
    assert (await harness.call("status"))["managed"] is False
    assert (await harness.call("grant", feature=FEATURE))["feature"] == FEATURE


async def test_a_call_that_runs_delays_the_replacement_and_not_the_refusal(shop: Shop) -> None:
    """The object that ubusd knows goes only after the last answer; a purchase in flight is not lost. The
    seller's methods are refused from the moment in which the setting is read.
    """
    shop.stripe.set_faults(latency_ms=2500, method="POST", path="/v1/checkout/sessions")
    purchase = asyncio.create_task(shop.checkout())

    async def begun() -> bool:
        return len(shop.stripe.requests(method="POST", path="/v1/checkout/sessions")) > 0

    await shop.harness.until(begun)
    await shop.harness.configure("main", managed="1")
    with pytest.raises(StatusError) as refused:
        await shop.harness.call("grant", feature=FEATURE)
    assert refused.value.status is Status.METHOD_NOT_FOUND
    assert (await purchase).startswith("cs_")

    async def replaced() -> bool:
        return await published(shop.harness) == EVERYTHING - SELLER

    await shop.harness.until(replaced)


async def test_at_a_start_the_mark_of_the_init_script_counts(harness: Harness) -> None:
    """Before the settings are loaded: there is no moment in which root sees the seller's methods."""
    await manage(harness)
    await harness.stop_daemon()
    (harness.private / "managed").mkdir()
    await harness.start_daemon()
    assert await published(harness) == EVERYTHING - SELLER
    await harness.parts()
    assert await published(harness) == EVERYTHING - SELLER


async def test_a_mark_that_the_settings_contradict_is_corrected(harness: Harness) -> None:
    await harness.stop_daemon()
    (harness.private / "managed").mkdir()
    await harness.start_daemon()

    async def everything() -> bool:
        return await published(harness) == EVERYTHING

    await harness.until(everything)


async def test_the_shell_has_them_in_both_modes_with_the_same_answers(harness: Harness) -> None:
    for value in ("0", "1"):
        if value == "1":
            await manage(harness)
        granted = await harness.command("grant", FEATURE, "note=a present", "until=2099-01-01T00:00:00Z")
        assert granted["status"] == 0
        assert granted["data"]["until"] == "2099-01-01T00:00:00Z"
        assert (await harness.command("grants"))["data"]["grants"][0]["note"] == "a present"
        assert (await harness.call("has", feature=FEATURE))["unlocked"] is True
        revoked = await harness.command("revoke", f"feature={FEATURE}")
        assert revoked == {"status": 0, "data": {"feature": FEATURE, "revoked": True}}


REFUSED: Sequence[tuple[str, tuple[str, ...], str]] = [
    ("grant", (), "invalid_argument"),
    ("grant", ("nonsense",), "unknown_feature"),
    ("grant", (FEATURE, "one too many"), "invalid_argument"),
    ("grant", (FEATURE, "untill=2099-01-01T00:00:00Z"), "invalid_argument"),
    ("refund", ("pi_1", "amount=many"), "invalid_argument"),
    ("set_keys", ("secret_key=hello",), "invalid_argument"),
]


@pytest.mark.parametrize(("method", "words", "code"), REFUSED)
async def test_errors_have_the_body_of_the_bus(
    harness: Harness, method: str, words: tuple[str, ...], code: str
) -> None:
    for locale in ("en", "it"):
        response = await harness.command(method, *words, locale=locale)
        assert response["status"] != 0
        assert response["data"]["error"]["code"] == code
        assert set(response["data"]["error"]) == {"code", "message", "hint", "user_hint"}


async def test_the_socket_is_for_root_and_the_daemon_alone(harness: Harness) -> None:
    path = harness.private / "seller.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    harness.private.chmod(0o755)
    path.chmod(0o666)
    path.parent.parent.chmod(0o755)
    program = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.connect(sys.argv[1])\n"
        "try: s.sendall(sys.stdin.buffer.read()); print(s.recv(1000))\n"
        "except ConnectionError: print(b'')"
    )
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/python3",
        "-c",
        program,
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    request = json.dumps({"method": "grant", "words": [FEATURE], "locale": "en"}).encode() + b"\n"
    said, _ = await process.communicate(request)
    assert (process.returncode, said) == (0, b"b''\n")
    assert (await harness.command("grants"))["data"] == {"grants": []}


MALFORMED = [b"\n", b"[]\n", b"{}\n", b'{"method": 1, "words": []}\n', b"\xff\n", b"x" * 200_000]


@pytest.mark.parametrize("request_", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_request_is_refused(harness: Harness, request_: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(harness.private / "seller.sock")
    writer.write(request_)
    writer.write_eof()
    line = await reader.read()
    writer.close()
    refusal: dict[str, Any] = {"status": Status.INVALID_ARGUMENT.value, "data": None}
    assert not line or json.loads(line) == refusal
    assert (await harness.command("grants"))["status"] == 0


async def test_a_socket_left_by_a_killed_daemon_is_replaced(harness: Harness) -> None:
    await harness.stop_daemon()
    assert not (harness.private / "seller.sock").exists()
    (harness.private / "seller.sock").touch()
    await harness.start_daemon()
    assert (await harness.command("grants"))["status"] == 0
