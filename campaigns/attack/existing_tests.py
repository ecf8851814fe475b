"""Tests of attacks that stand elsewhere, counted as cases: what they hold, the campaign need not try
again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

from campaigns.attack.cases import Cases
from tests.interop.world import skip_reason

__all__ = ["TESTS", "existing_tests"]

REPOSITORY = Path(__file__).resolve().parents[2]

TESTS = (
    "tests/fuzz",
    "tests/conformance",
    "simulator/tests/ubus_broker/test_hostile_clients.py",
    "simulator/tests/ubus_broker/test_acl.py",
    "tests/unit/stripe_payments/http_api",
    "tests/unit/stripe_payments/billing/test_return_urls.py",
    "tests/unit/stripe_payments/stripe_api/test_validation.py",
    "tests/unit/stripe_payments/stripe_api/test_webhook_signature.py",
    "tests/unit/stripe_payments/foundations/test_log.py",
    "tests/flows/test_http_api.py",
    "tests/hub/test_hostile_router.py",
    "tests/luci/test_transactions.py::test_the_file_holds_everything_and_no_formula",
)
WITH_OPENWRT = (
    "tests/interop/test_gateway.py",
    "tests/interop/test_rights.py",
    "tests/interop/test_uci_helper.py",
)


async def existing_tests(cases: Cases) -> None:
    """Each test is a case; a skipped one is none."""
    report = cases.folder / "junit.xml"
    chosen = [*TESTS, *(WITH_OPENWRT if skip_reason() is None else ())]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        *chosen,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if not report.exists():
        cases.note(f"pytest ended without a report: {said[-500:]!r}", "all of them")
        return
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        name = f"{case.get('classname')}.{case.get('name')}"
        found = case.find("failure")
        broken = found if found is not None else case.find("error")
        cases.note(None if broken is None else str(broken.get("message"))[:300], name)
