"""One table of currencies in the daemon, in LuCI and in the simulator."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from simulator.stripe_cloud import money
from stripe_payments import currencies
from stripe_payments.currencies import DIGITS, MINIMUM_CHARGES, STEPS, decimal_amount

REPOSITORY = Path(__file__).resolve().parents[2]
FORMAT_JS = REPOSITORY / "luci-app-stripe-payments/htdocs/luci-static/resources/stripe-payments/format.js"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("DIGITS", DIGITS),
        ("STEPS", STEPS),
        ("MINIMUM_CHARGES", MINIMUM_CHARGES),
        ("MAXIMUM_CHARGES", {"idr": currencies.maximum_charge("idr")}),
    ],
)
def test_luci_has_the_daemons_table(name: str, table: Mapping[str, int]) -> None:
    found = re.search(rf"const {name} = \{{(.*?)\}}", FORMAT_JS.read_text(), re.DOTALL)
    assert found is not None
    entries = re.findall(r"([A-Z]{3}): (\d+)", found[1])
    assert {currency.lower(): int(value) for currency, value in entries} == table


def test_luci_has_the_daemons_largest_charge() -> None:
    assert f"const MAXIMUM_CHARGE = {currencies.maximum_charge('eur')};" in FORMAT_JS.read_text()


def test_the_simulator_has_the_daemons_table() -> None:
    assert (money.DIGITS, money.STEPS, money.MINIMUM_CHARGES) == (DIGITS, STEPS, MINIMUM_CHARGES)
    for currency in ("eur", "idr", "jpy"):
        assert money.maximum_charge(currency) == currencies.maximum_charge(currency)


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (4999, "eur", "49.99"),
        (5, "USD", "0.05"),
        (-199, "chf", "-1.99"),
        (0, "eur", "0.00"),
        (500, "jpy", "500"),
        (5120, "kwd", "5.120"),
        (500000, "ugx", "5000.00"),
        (50000, "isk", "500.00"),
        (499900, "huf", "4999.00"),
        (99999999, "idr", "999999.99"),
        (123456789012, "vnd", "123456789012"),
    ],
)
def test_minor_units_become_a_decimal_number(amount: int, currency: str, expected: str) -> None:
    assert decimal_amount(amount, currency) == expected


def test_the_daemon_has_one_table() -> None:
    daemon = REPOSITORY / "daemon/stripe_payments"
    files = [file for file in daemon.rglob("*.py") if re.search(r"\bxpf\b", file.read_text(), re.IGNORECASE)]
    assert files == [Path(currencies.__file__)]
