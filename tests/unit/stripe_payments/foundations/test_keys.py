"""Keys are stored whole or not at all, for the daemon's eyes alone."""

import json
import os
import stat
from pathlib import Path

import pytest

from stripe_payments.errors import PaymentError
from stripe_payments.keys import Keys, KeyStore
from tests.unit.stripe_payments.full_storage import own_file_system, set_read_only

SECRET = "sk_test_51ABCDEFGHIJKLMNOPqrst"
LIVE = "rk_live_51ABCDEFGHIJKLMNOPqrst"
WEBHOOK = "whsec_ABCDEFGHIJKLMNOPqrst"
PUBLIC = "pk_test_51ABCDEFGHIJKLMNOPqrst"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "stripe-payments"


def test_nothing_stored_is_unconfigured(state: Path) -> None:
    assert KeyStore(state, {}).current() == Keys()
    assert KeyStore(state, {}).current().mode == "unconfigured"


def test_stored_keys_survive_a_restart_and_are_private(state: Path) -> None:
    umask = os.umask(0)
    try:
        KeyStore(state, {}).store(secret_key=f" {SECRET}\n", webhook_secret=WEBHOOK, publishable_key=PUBLIC)
    finally:
        os.umask(umask)
    assert KeyStore(state, {}).current() == Keys(SECRET, WEBHOOK, PUBLIC)
    assert stat.S_IMODE((state / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert [entry.name for entry in state.iterdir()] == ["secrets.json"]


def test_one_key_at_a_time_and_removal(state: Path) -> None:
    store = KeyStore(state, {})
    assert store.store(secret_key=SECRET).mode == "test"
    assert store.store(webhook_secret=WEBHOOK) == Keys(SECRET, WEBHOOK)
    assert store.store(webhook_secret="") == Keys(SECRET)
    assert store.store(secret_key=LIVE).mode == "live"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("secret_key", PUBLIC),
        ("secret_key", "sk_test_abc def"),
        ("secret_key", "sk_test_abc\x00"),
        ("secret_key", "sk_test_" + "a" * 600),
        ("secret_key", WEBHOOK),
        ("webhook_secret", SECRET),
        ("publishable_key", SECRET),
    ],
)
def test_a_key_of_the_wrong_shape_is_refused_without_being_repeated(
    state: Path, argument: str, value: str
) -> None:
    store = KeyStore(state, {})
    store.store(secret_key=LIVE)
    with pytest.raises(PaymentError) as caught:
        store.store(**{argument: value})
    assert caught.value.code == "invalid_argument"
    assert argument in caught.value.message
    assert value not in str(caught.value.body())
    assert store.current() == Keys(LIVE)


def test_a_bare_prefix_is_no_key(state: Path) -> None:
    with pytest.raises(PaymentError, match="begins with sk_test_"):
        KeyStore(state, {}).store(secret_key="sk_test_")
    assert not (state / "secrets.json").exists()


def test_test_and_live_do_not_mix(state: Path) -> None:
    store = KeyStore(state, {})
    store.store(secret_key=SECRET, publishable_key=PUBLIC)
    with pytest.raises(PaymentError, match="same mode"):
        store.store(secret_key=LIVE)
    assert store.current().mode == "test"
    assert store.store(secret_key=LIVE, publishable_key="").mode == "live"


def test_the_environment_wins_and_is_never_written(state: Path) -> None:
    KeyStore(state, {}).store(secret_key=LIVE, webhook_secret=WEBHOOK)
    store = KeyStore(state, {"STRIPE_SECRET_KEY": SECRET, "STRIPE_WEBHOOK_SECRET": ""})
    assert store.current() == Keys(SECRET, WEBHOOK)
    with pytest.raises(PaymentError, match="environment"):
        store.store(secret_key=LIVE)
    store.store(publishable_key=PUBLIC)
    assert SECRET not in (state / "secrets.json").read_text()
    assert KeyStore(state, {"STRIPE_SECRET_KEY": "nonsense"}).current().secret_key == LIVE


def test_a_change_by_another_hand_is_seen(state: Path) -> None:
    store = KeyStore(state, {})
    store.store(secret_key=SECRET)
    assert store.current().secret_key == SECRET
    (state / "secrets.json").write_text(json.dumps({"secret_key": LIVE, "surplus": 1}))
    assert store.current() == Keys(LIVE)
    (state / "secrets.json").unlink()
    assert store.current() == Keys()


def test_white_space_around_a_key_in_the_file_is_no_part_of_it(state: Path) -> None:
    state.mkdir(parents=True)
    (state / "secrets.json").write_text(json.dumps({"secret_key": f" {SECRET}\n"}))
    assert KeyStore(state, {}).current() == Keys(SECRET)


def test_a_file_readable_by_others_gets_mode_0600(state: Path) -> None:
    KeyStore(state, {}).store(secret_key=SECRET)
    (state / "secrets.json").chmod(0o644)
    assert KeyStore(state, {}).current() == Keys(SECRET)
    assert stat.S_IMODE((state / "secrets.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"secret_key": 5}'])
def test_a_corrupt_file_counts_as_unconfigured_and_can_be_replaced(state: Path, content: bytes) -> None:
    state.mkdir(parents=True)
    (state / "secrets.json").write_bytes(content)
    store = KeyStore(state, {})
    assert store.current() == Keys()
    assert store.store(secret_key=SECRET) == Keys(SECRET)
    assert KeyStore(state, {}).current() == Keys(SECRET)


def test_a_storage_that_fails_leaves_the_old_keys(state: Path) -> None:
    store = KeyStore(state, {})
    store.store(secret_key=SECRET)
    (state / ".secrets.json.new").mkdir()  # the new file cannot be made: a fault that root meets as well
    with pytest.raises(PaymentError) as caught:
        store.store(secret_key="sk_test_other1234567890")
    assert caught.value.code == "ledger_unavailable"
    assert KeyStore(state, {}).current() == Keys(SECRET)


@pytest.mark.parametrize(
    ("content", "mode", "keys"),
    [
        (json.dumps({"secret_key": SECRET}), 0o600, Keys(SECRET)),
        (json.dumps({"secret_key": SECRET}), 0o644, Keys(SECRET)),
        ("{", 0o600, Keys()),
    ],
)
def test_keys_are_read_from_a_read_only_storage(state: Path, content: str, mode: int, keys: Keys) -> None:
    with own_file_system(state):
        (state / "secrets.json").write_text(content)
        (state / "secrets.json").chmod(mode)
        set_read_only(state, True)
        store = KeyStore(state, {})
        assert store.current() == keys
        assert store.current() == keys
        with pytest.raises(PaymentError) as refused:
            store.store(webhook_secret=WEBHOOK)
        assert refused.value.details["reason"] == "Read-only file system"
        set_read_only(state, False)
        assert store.store(secret_key=SECRET, webhook_secret=WEBHOOK) == Keys(SECRET, WEBHOOK)


def test_no_representation_of_keys_reveals_them() -> None:
    keys = Keys(SECRET, WEBHOOK, PUBLIC)
    for text in (repr(keys), str(keys), f"{keys}", repr([keys]), f"{keys!r}"):
        assert "ABCDEF" not in text
        assert "sk_test_…qrst" in text
