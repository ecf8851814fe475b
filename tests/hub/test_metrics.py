"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from payments_hub.database import Database
from payments_hub.metrics import create_metrics
from tests.hub.vendor import Vendor, eventually

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def _read(http: httpx.AsyncClient) -> Values:
    reply = await http.get("/metrics")
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (200, "text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def _labels(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


async def test_what_happened_is_counted(vendor: Vendor, database_url: str) -> None:
    state = {"route": "/v1/state", "method": "GET"}
    async with vendor.console() as console:
        before = await _read(console)
        router, gone = await vendor.router(), await vendor.router()
        await vendor.hub.routers.revoke(gone.id)
        await vendor.hub.routers.seen({router.id})
        session = await router.checkout("lifetime_once")
        vendor.cloud.pay(session)
        (delivery, *_others) = vendor.cloud.deliveries()
        vendor.cloud.resend(delivery["event"])
        await router.state()
        await router.request("GET", "/v1/state", prefer="wait=1")
        await gone.request("GET", "/v1/state")
        for path in ("/v1/nothing", "/console", "/%00"):
            await vendor.http.get(path)

        async def counted() -> bool:
            after = await _read(console)

            def more(name: str, **labels: str) -> float:
                key = _labels(name, **labels)
                return after.get(key, 0) - before.get(key, 0)

            return (
                more("hub_requests_total", **state, status="200") == 2
                and more("hub_requests_total", **state, status="403") == 1
                and more("hub_requests_total", route="other", method="other", status="404") == 3
                and more("hub_request_seconds_count", route="/v1/state") == 2
                and more("hub_request_seconds_count", route="/v1/state?wait") == 1
                and more("hub_webhook_events_total", result="accepted") >= 2
                and more("hub_webhook_events_total", result="duplicate") == 1
                and more("hub_stripe_requests_total", outcome="ok") >= 2
                and after[_labels("hub_routers", status="active")] == 1
                and after[_labels("hub_routers", status="revoked")] == 1
                and after[_labels("hub_routers_in_contact")] == 1
                and after[_labels("hub_inbox_events")] == 0
            )

        await eventually(counted, "all of it is counted")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO inbox (event_id, type, object_id, received_at, next_attempt)"
                " VALUES ('evt_1', 'charge.refunded', 'ch_1', now() - interval '1 hour', 'infinity')"
            )
        values = await _read(console)
        assert values[_labels("hub_inbox_events")] == 1
        assert values[_labels("hub_inbox_oldest_seconds")] >= 3600
        assert values[_labels("hub_worker_lag_seconds")] == 0, "it is not due"
        assert values[_labels("hub_database_up")] == 1
    names = {name for name, _labels in values}
    assert "process_resident_memory_bytes" in names
    assert not [labels for _name, labels in values if router.id in str(labels)], "a bounded number of series"


async def test_a_database_that_is_away_is_measured(database_url: str) -> None:
    async with Database.open(database_url) as database:
        app = create_metrics(database)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        assert (await _read(http))[_labels("hub_database_up")] == 0
