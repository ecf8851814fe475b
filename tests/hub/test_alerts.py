"""The alerts for Prometheus: each fires for what it is for and for nothing else; promtool evaluates them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.hub.vendor import Vendor, eventually

REPOSITORY = Path(__file__).resolve().parents[2]
RULES: Final = REPOSITORY / "hub/prometheus/payments-hub.rules.yml"
_MINUTES: Final = 90
_YEAR_S: Final = 365 * 86_400

Series = Mapping[str, str]
"""Samples a minute apart by the name of a series, as promtool writes them: `1x90` stays, `0+6x90` grows."""

HEALTHY: Final[Series] = {
    'hub_database_up{instance="a"}': "1x90",
    'hub_database_up{instance="b"}': "1x90",
    "hub_worker_lag_seconds": "0x90",
    "hub_inbox_oldest_seconds": "5x90",
    "hub_sweep_age_seconds": "90x90",
    "hub_missed_events_total": "0x90",
    'hub_webhook_events_total{result="accepted"}': "0+60x90",
    'hub_webhook_events_total{result="ignored"}': "0+60x90",
    'hub_stripe_budget_exhausted_total{priority="sync"}': "0x90",
    'hub_stripe_requests_total{outcome="ok"}': "0+600x90",
    'hub_stripe_requests_total{outcome="timeout"}': "0+1x90",
    'hub_stripe_requests_total{outcome="stripe_key_permission"}': "0x90",
    'hub_requests_total{route="/v1/state",method="GET",status="304"}': "0+6000x90",
    'hub_requests_total{route="/v1/state",method="GET",status="401"}': "0+1x90",
    'hub_requests_total{route="/v1/state",method="GET",status="503"}': "0+1x90",
    'hub_request_seconds_bucket{route="/v1/state",le="0.1"}': "0+5990x90",
    'hub_request_seconds_bucket{route="/v1/state",le="1"}': "0+6000x90",
    'hub_request_seconds_bucket{route="/v1/state",le="+Inf"}': "0+6000x90",
    'hub_request_seconds_bucket{route="/v1/state?wait",le="0.1"}': "0x90",
    'hub_request_seconds_bucket{route="/v1/state?wait",le="+Inf"}': "0+100x90",
    "hub_poll_after_seconds": "900x90",
    "hub_signing_key_created_seconds": "-10000000x90",
    'probe_ssl_earliest_cert_expiry{instance="https://hub.example.org"}': "5000000x90",
}
"""Time begins at 0 in promtool. One event in sixty is ignored, and a few requests fail."""

FAULTS: Final[Mapping[str, Series]] = {
    "HubDown": dict.fromkeys(('hub_database_up{instance="a"}', 'hub_database_up{instance="b"}'), "_x90"),
    "HubDatabaseAway": {'hub_database_up{instance="b"}': "1x60 0x30"},
    "HubWorkerBehind": {"hub_worker_lag_seconds": "0+60x90"},
    "HubQueueOld": {"hub_inbox_oldest_seconds": "0+60x90"},
    "HubNoSweep": {"hub_sweep_age_seconds": "60+60x90"},
    "HubWebhookSilent": {
        'hub_webhook_events_total{result="accepted"}': "60x90",
        "hub_missed_events_total": "0x80 1x10",
    },
    "HubEventsMissed": {"hub_missed_events_total": "0+1x90"},
    "HubStripeBudgetExhausted": {'hub_stripe_budget_exhausted_total{priority="sync"}': "0x85 1x5"},
    "HubStripeErrors": {'hub_stripe_requests_total{outcome="timeout"}': "0+100x90"},
    "HubStripeKeyRefused": {'hub_stripe_requests_total{outcome="stripe_key_permission"}': "0x85 1x5"},
    "HubCredentialsRefused": {'hub_requests_total{route="/v1/state",method="GET",status="401"}': "0+1000x90"},
    "HubPollsSlow": {'hub_request_seconds_bucket{route="/v1/state",le="0.1"}': "0+5800x90"},
    "HubPollsSlowedDown": {"hub_poll_after_seconds": "900x60 1800x30"},
    "HubErrors": {'hub_requests_total{route="/v1/state",method="GET",status="503"}': "0+600x90"},
    "HubSigningKeyOld": {"hub_signing_key_created_seconds": f"-{_YEAR_S}x90"},
    "HubCertificateExpires": {
        'probe_ssl_earliest_cert_expiry{instance="https://hub.example.org"}': "1000000x90"
    },
}


def _case(name: str, fault: Series, expected: tuple[str, ...]) -> dict[str, object]:
    # every alert that fires, and for how many series
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{one}"}}', "value": 1} for one in expected]
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": value} for key, value in {**HEALTHY, **fault}.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{_MINUTES}m", "exp_samples": samples}],
    }


def test_each_alert_fires_for_its_fault_alone(tmp_path: Path) -> None:
    cases = [_case("healthy", {}, ()), *[_case(name, fault, (name,)) for name, fault in FAULTS.items()]]
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}
    file = tmp_path / "alerts.test.yml"
    file.write_text(json.dumps(document))  # JSON is YAML
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is needed: apt-get install prometheus"
    command = [promtool, "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_documented() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert alerts == set(FAULTS)
    for page in ("hub.md", "hub.it.md"):
        assert set(re.findall(r"\bHub[A-Z]\w+", (REPOSITORY / "docs" / page).read_text())) == alerts, page


async def test_the_hub_has_every_metric_that_an_alert_reads(vendor: Vendor) -> None:
    async with vendor.console() as console:

        async def swept() -> str | None:
            """One worker at a time sweeps, and the vendor's own may be at it."""
            await vendor.hub.worker.sweep()
            text = (await console.get("/metrics")).text
            return text if "\nhub_sweep_age_seconds " in text else None

        text = await eventually(swept, "a sweep is done")
    families = list(text_string_to_metric_families(text))
    known = {name for family in families for name in (family.name, f"{family.name}_total")}
    known |= {f"{family.name}_bucket" for family in families if family.type == "histogram"}
    read = set(
        re.findall(r"\bhub_\w+", "\n".join(re.findall(r"expr: (.*(?:\n {10}.*)*)", RULES.read_text())))
    )
    assert len(read) > 10
    assert read <= known
