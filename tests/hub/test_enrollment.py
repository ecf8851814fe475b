"""Who a router is: enrolment, credentials, blocking, and moving what was bought to another router."""

from __future__ import annotations

from pathlib import Path

import httpx
import psycopg
import pytest

from payments_hub.errors import VendorError
from payments_hub.operations import Operations
from payments_hub.routers import FOUND, NEWEST, new_secret
from tests.hub.vendor import Caller, Vendor, eventually


async def test_a_code_enrolls_one_router(vendor: Vendor) -> None:
    code = await vendor.hub.routers.new_enrollment_code("serial 4711")
    router = vendor.caller()
    assert (await router.enroll(code)).status_code == 201
    assert (await router.state())["router_id"] == router.id
    (row,) = await vendor.hub.routers.find("4711")
    assert (row["id"], row["status"], row["board"]) == (router.id, "active", "bananapi,bpi-r4")


async def test_enrolling_again_with_the_same_secret_is_the_same_router(vendor: Vendor) -> None:
    """A power cut between the request and its response."""
    code = await vendor.hub.routers.new_enrollment_code()
    router = vendor.caller()
    first = (await router.enroll(code)).json()
    assert (await router.enroll(code)).json() == first
    assert (await router.enroll()).json() == first


async def test_a_used_code_with_another_secret_is_refused_and_counted(
    vendor: Vendor, database_url: str
) -> None:
    code = await vendor.hub.routers.new_enrollment_code()
    await vendor.caller().enroll(code)
    thief = vendor.caller()
    for _repeated in range(2):
        reply = await thief.enroll(code)
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "code_used")
    assert [one["flags"] for one in await vendor.hub.routers.find()] == [["code_reused"]]
    assert (await thief.request("GET", "/v1/state")).status_code == 401
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT conflicts FROM enrollment_codes").fetchone() == (2,)


async def test_a_code_is_typed_as_people_type(vendor: Vendor) -> None:
    for written in (str.lower, lambda code: code.replace("-", ""), lambda code: f" {code} "):
        code = await vendor.hub.routers.new_enrollment_code()
        assert (await vendor.caller().enroll(written(code))).status_code == 201


async def test_without_a_right_code_nobody_enrolls(vendor: Vendor, database_url: str) -> None:
    expired = await vendor.hub.routers.new_enrollment_code(days=0)
    for code, expected in (
        (None, "enrollment_closed"),
        ("AAAAA-BBBBB", "code_refused"),
        (expired, "code_refused"),
    ):
        reply = await vendor.caller().enroll(code)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, expected)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM routers").fetchone() == (0,)


async def test_open_enrollment_gives_an_empty_account(database_url: str, tmp_path: Path) -> None:
    async with Vendor.open(database_url, tmp_path, open_enrollment=True) as vendor:
        one, two = vendor.caller(), vendor.caller()
        assert (await one.enroll()).status_code == (await two.enroll()).status_code == 201
        assert one.id != two.id
        assert (await one.state())["features"] == (await two.state())["features"]


async def test_enrolling_is_limited_by_address(vendor: Vendor) -> None:
    replies = [await vendor.caller().enroll("WRONG") for _ in range(12)]
    assert [reply.status_code for reply in replies[:3]] == [403] * 3
    assert replies[-1].status_code == 429
    assert int(replies[-1].headers["retry-after"]) > 0


async def test_enrolling_is_limited_at_all_instances_together(vendor: Vendor, database_url: str) -> None:
    """By household: a caller has all addresses of an IPv6 network of 64 bits."""

    async def statuses(http: httpx.AsyncClient, addresses: list[str]) -> list[int]:
        body = {"secret": new_secret(), "code": "WRONG", "board": "b", "version": "1"}
        return [
            (await http.post("/v1/enrollments", json=body, headers={"x-forwarded-for": address})).status_code
            for address in addresses
        ]

    async with vendor.instance() as second:
        for taken, refused, served in (
            (["192.0.2.1"] * 10, "192.0.2.1", "192.0.2.2"),
            ([f"2001:db8::{host}" for host in range(10)], "2001:db8::ffff", "2001:db8:0:1::1"),
        ):
            for http, some in ((vendor.http, taken[:5]), (second.http, taken[5:])):
                assert await statuses(http, some) == [403] * 5
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("UPDATE enrollment_attempts SET counted_at = now() + interval '1 hour'")
            assert await statuses(vendor.http, [refused, served]) == [429, 403]
            assert await statuses(second.http, [refused, served]) == [429, 403]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE enrollment_attempts SET counted_at = now() - interval '2 hours'")
        await vendor.hub.worker.prune()
        left = connection.execute("SELECT count(*) FROM enrollment_attempts").fetchone()
        assert left == (0,), "what counts nothing any more is deleted"


async def test_a_secret_that_is_not_256_bits_is_refused(vendor: Vendor) -> None:
    for secret in ("", "short", "x" * 44, "y" * 42 + "!", "é" * 43, None, 5):
        body = {"secret": secret, "board": "b", "version": "1"}
        reply = await vendor.http.post("/v1/enrollments", json=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_argument")


async def test_only_digests_are_stored(vendor: Vendor, database_url: str) -> None:
    code = await vendor.hub.routers.new_enrollment_code()
    router = vendor.caller()
    await router.enroll(code)
    recovery = (await router.request("POST", "/v1/recovery-codes")).json()["code"]
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT set_config('hub.account', '*', false)")
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            text = str(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())
            for secret in (router.secret, code, code.replace("-", ""), recovery, recovery.replace("-", "")):
                assert secret not in text, table


async def test_the_old_credential_works_until_the_new_one_was_used(vendor: Vendor) -> None:
    router = await vendor.router()
    old, new = router.secret, new_secret()
    for _repeated in range(2):
        assert (await router.request("POST", "/v1/credentials/rotate", {"secret": new})).status_code == 200
    assert (await router.request("GET", "/v1/state")).status_code == 200
    router.secret = new
    assert (await router.state())["router_id"] == router.id
    router.secret = old
    assert (await router.request("GET", "/v1/state")).status_code == 401
    (row,) = await vendor.hub.routers.find(router.id)
    assert row["flags"] == ["clone"], "two devices have the credentials of one"
    assert row["status"] == "active", "the vendor decides"
    router.secret = new
    assert (await router.request("GET", "/v1/state")).status_code == 200


async def test_the_vendor_requests_other_credentials(vendor: Vendor) -> None:
    """Each poll is answered with that request, until it comes with a credential that was made later."""
    one, two, blocked = [await vendor.router() for _ in range(3)]
    await vendor.hub.routers.revoke(blocked.id)
    operations = Operations(vendor.hub, "cli:root")

    async def polled(router: Caller, known: str = "") -> tuple[int, bool, bool]:
        """A poll: its status, whether it is answered with the request, whether the vendor sees one open."""
        reply = await router.request("GET", "/v1/state", **({"if_none_match": known} if known else {}))
        (row,) = await vendor.hub.routers.find(router.id)
        assert (row["rotation_requested"] is None) or row["rotation_requested"].startswith("20")
        return reply.status_code, "rotate-credential" in reply.headers, row["rotation_requested"] is not None

    known = (await one.request("GET", "/v1/state")).headers["etag"]
    assert await polled(one, known) == (304, False, False)
    made_before = new_secret()
    await one.request("POST", "/v1/credentials/rotate", {"secret": made_before})
    assert await operations.rotate(one.id) == {"routers": 1}
    assert await polled(one) == (200, True, True)
    assert await polled(one, known) == (304, True, True), "a poll without news"
    assert await polled(two) == (200, False, False)
    one.secret = made_before
    assert await polled(one) == (200, True, True), "it is as old as the one before"
    new = new_secret()
    await one.request("POST", "/v1/credentials/rotate", {"secret": new})
    assert await polled(one) == (200, True, True), "not used yet"
    one.secret = new
    assert await polled(one) == (200, False, False)

    assert await operations.rotate_all() == {"routers": 2}
    assert [await polled(router) for router in (one, two)] == [(200, True, True)] * 2
    for router in (blocked.id, "0" * 32):
        with pytest.raises(VendorError):
            await operations.rotate(router)


async def test_a_credential_of_another_router_cannot_be_taken_over(vendor: Vendor) -> None:
    one, two = await vendor.router(), await vendor.router()
    reply = await one.request("POST", "/v1/credentials/rotate", {"secret": two.secret})
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "credential_refused")
    assert (await two.state())["router_id"] == two.id


async def test_a_blocked_router_is_refused_by_the_next_request(vendor: Vendor) -> None:
    router = await vendor.router()
    assert await vendor.hub.routers.revoke(router.id)
    reply = await router.request("GET", "/v1/state", accept_language="it")
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "router_revoked")
    assert "venditore" in reply.json()["error"]["message"]
    assert not await vendor.hub.routers.revoke(router.id)


async def test_what_was_bought_moves_to_another_router(vendor: Vendor) -> None:
    broken, new = await vendor.router(), await vendor.router()
    vendor.cloud.pay(await broken.checkout("premium_monthly"))

    async def has_it() -> bool:
        return await broken.unlocked() == {"backups", "updates"}

    await eventually(has_it, "bought")
    code = (await broken.request("POST", "/v1/recovery-codes")).json()["code"]
    for _repeated in range(2):
        reply = await new.request("POST", "/v1/recovery", {"code": code.lower()})
        assert (reply.status_code, reply.json()) == (200, {"router_id": new.id})
    assert await new.unlocked() == {"backups", "updates"}
    refused = await broken.request("GET", "/v1/state")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "router_replaced")
    third = await vendor.router()
    again = await third.request("POST", "/v1/recovery", {"code": code})
    assert (again.status_code, again.json()["error"]["code"]) == (403, "code_refused")
    # it goes on with the new router: a change, and the end of the subscription at Stripe
    (subscription,) = (await new.state())["en"]["subscriptions"]
    await new.call("change_plan", subscription=subscription["id"], price_id="business_monthly")
    assert await new.unlocked() == {"backups", "updates", "monitoring"}


async def test_a_new_recovery_code_ends_the_one_before(vendor: Vendor) -> None:
    owner, other = await vendor.router(), await vendor.router()
    first, second = [(await owner.request("POST", "/v1/recovery-codes")).json()["code"] for _ in range(2)]
    assert (await other.request("POST", "/v1/recovery", {"code": first})).status_code == 403
    assert (await other.request("POST", "/v1/recovery", {"code": second})).status_code == 200


async def test_a_router_that_bought_something_is_not_overwritten(vendor: Vendor) -> None:
    one, two = await vendor.router(), await vendor.router()
    await two.checkout("premium_monthly")
    code = (await one.request("POST", "/v1/recovery-codes")).json()["code"]
    reply = await two.request("POST", "/v1/recovery", {"code": code})
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "router_not_empty")


async def test_a_search_reads_no_table_of_all_routers(vendor: Vendor, database_url: str) -> None:
    """With every other way to a row turned off, a plan has to use the indexes for searching."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET enable_seqscan = off; SET enable_indexscan = off")
        values = {"text": "%4711%", "accounts": ["a" * 32], "limit": 50}
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {FOUND}".encode(), values))
        connection.execute("SET enable_indexscan = on")
        newest = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {NEWEST}".encode(), values))
    indexes = ("routers_text", "accounts_customer_text", "enrollment_codes_note_text", "routers_account")
    assert [name for name in indexes if f"Bitmap Index Scan on {name}" not in plan] == []
    assert "Seq Scan" not in plan + newest
    assert "Sort" not in newest


async def test_a_text_is_searched_as_it_is_typed(vendor: Vendor) -> None:
    for note in ("100% Wolle", "a_b", r"back\slash"):
        assert (await vendor.caller().enroll(await vendor.hub.routers.new_enrollment_code(note))).is_success
    for text, found in (("100%", 1), ("%", 1), ("a_b", 1), ("_", 1), ("BACK\\S", 1), ("w_lle", 0), ("'", 0)):
        assert len(await vendor.hub.routers.find(text)) == found, text
