"""Python's bytecode of releases that are gone."""

import sys
from pathlib import Path

import pytest

from stripe_payments.bytecode import remove_other_releases
from tests.unit.stripe_payments.app.test_process import empty_harness, running
from tests.unit.stripe_payments.harness import PATIENCE_S, Harness

__all__ = ["empty_harness"]


def _compiled(folder: Path, release: str) -> Path:
    file = folder / release / "usr/lib/stripe_payments/service.cpython-311.pyc"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"compiled")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pycache"


def test_bytecode_of_other_releases_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, older = _compiled(folder, "9.0.0-16.1.0"), _compiled(folder, "0.1.0-16.1.0")
    monkeypatch.setattr(sys, "pycache_prefix", str(folder / "9.0.0-16.1.0"))
    remove_other_releases(folder)
    assert ours.exists()
    assert not older.exists()
    assert [path.name for path in folder.iterdir()] == ["9.0.0-16.1.0"]


@pytest.mark.parametrize("prefix", [None, "elsewhere", "pycache/9.0.0/deeper", "pycache"])
def test_nothing_is_removed_without_a_cache_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str | None
) -> None:
    kept = _compiled(folder, "0.1.0-16.1.0")
    monkeypatch.setattr(sys, "pycache_prefix", prefix and str(tmp_path / prefix))
    remove_other_releases(folder)
    assert kept.exists()


async def test_the_daemon_removes_it_at_the_start(folder: Path, empty_harness: Harness) -> None:
    older, options = _compiled(folder, "0.1.0-16.1.0"), ("--bytecode", str(folder))
    async with running(empty_harness, *options, PYTHONPYCACHEPREFIX=str(folder / "9.0.0-16.1.0")):
        await empty_harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        assert not older.exists()
        assert [path.name for path in folder.iterdir()] == ["9.0.0-16.1.0"]
