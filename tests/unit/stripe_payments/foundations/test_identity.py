"""A router is itself for ever."""

import stat
from pathlib import Path

import pytest

from stripe_payments.errors import PaymentError
from stripe_payments.identity import Identity, IdentityStore


def test_the_id_is_created_once_and_kept(tmp_path: Path) -> None:
    first = IdentityStore(tmp_path).load()
    assert len(first.router_id) == 32
    assert int(first.router_id, 16)
    assert first.customer is None
    assert IdentityStore(tmp_path).load() == first
    assert stat.S_IMODE((tmp_path / "identity.json").stat().st_mode) == 0o600


def test_the_customer_is_stored_with_it_and_can_be_removed(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path)
    router_id = store.load().router_id
    store.set_customer("cus_123")
    assert IdentityStore(tmp_path).load() == Identity(router_id, "cus_123")
    store.set_customer(None)
    assert IdentityStore(tmp_path).load() == Identity(router_id)


def test_the_same_customer_writes_nothing(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path)
    store.set_customer("cus_123")
    before = (tmp_path / "identity.json").stat()
    store.set_customer("cus_123")
    assert (tmp_path / "identity.json").stat().st_ino == before.st_ino


def test_an_invalid_customer_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="customer"):
        IdentityStore(tmp_path).set_customer("sub_1")


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense", b'{"router_id": "short"}', b'{"router_id": 7}'])
def test_a_corrupt_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)
    made = IdentityStore(tmp_path).load()
    assert IdentityStore(tmp_path).load() == made
    assert (tmp_path / "identity.json.corrupt-1").read_bytes() == content


def test_an_id_that_cannot_be_stored_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".identity.json.new").mkdir()
    with pytest.raises(PaymentError) as caught:
        IdentityStore(tmp_path).load()
    assert caught.value.code == "ledger_unavailable"
