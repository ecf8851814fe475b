"""Nothing secret and nothing that breaks a line leaves through the log."""

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.attack.log_lines import entry
from stripe_payments import log as journal
from stripe_payments.log import Log, escape, redact

DAEMON = Path(__file__).resolve().parents[4] / "daemon"

SECRET = "sk_test_51ABCDEFGHIJKLMNOPQRSTUVWXYZabcd"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    level = root.level
    journal.set_up("debug", stream)
    yield stream
    root.handlers = [h for h in root.handlers if getattr(h, "stream", None) is not stream]
    root.setLevel(level)
    logging.getLogger(journal.ROOT).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


def test_an_entry_is_one_line_of_logfmt(stream: io.StringIO) -> None:
    Log("ledger").info("ledger open", rows=3, fresh=True, path="/etc/x y", said='say "hi"')
    assert stream.getvalue() == (
        'level=info part=ledger msg="ledger open" rows=3 fresh=true path="/etc/x y" said="say \\"hi\\""\n'
    )


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (SECRET, "sk_test_…abcd"),
        ("rk_live_ABCDEFGHIJKLMNOPwxyz", "rk_live_…wxyz"),
        ("pk_test_ABCDEFGHIJKLMNOPwxyz", "pk_test_…wxyz"),
        ("whsec_ABCDEFGHIJKLMNOPwxyz", "whsec_…wxyz"),
        ("sk_test_short", "sk_test_…"),
        ("pi_3Abc_secret_DefGhi", "pi_3Abc_secret_…"),
        ("Authorization: Bearer c1e5f3f5b2f9bb7a", "Authorization: Bearer …"),
        ('"ubus_rpc_session": "c1e5f3f5b2f9bb7a"', '"ubus_rpc_session": "…"'),
        ("sysauth_http=c1e5f3f5b2f9bb7a; x", "sysauth_http=…; x"),
    ],
)
def test_each_kind_of_secret_is_shortened(secret: str, shown: str) -> None:
    assert redact(f"before {secret} after") == f"before {shown} after"


def test_other_text_is_unchanged() -> None:
    harmless = "cs_test_a1B2 price_premium_onetime cus_123 task_test_1 3f2a9c4b5d6e7f80"
    assert redact(harmless) == harmless


def test_a_secret_is_shortened_wherever_it_is_nested(stream: io.StringIO) -> None:
    class Keyring:
        def __str__(self) -> str:
            return f"Keyring({SECRET})"

    log = Log("x")
    log.info(f"in the message {SECRET}")
    log.info("nested", data={"keys": [SECRET, {"deep": (SECRET,)}]}, thing=Keyring())
    try:
        raise ValueError(f"bad key {SECRET}")
    except ValueError as error:
        log.error("failed", exc=error, reason=error)
    logging.getLogger("some.library").warning("asked with %s", SECRET)
    text = stream.getvalue()
    assert text.count("\n") == 4
    assert text.count("sk_test_…abcd") >= 6
    assert "ABCDEFGHIJ" not in text


def test_a_forged_entry_stays_inside_its_own(stream: io.StringIO) -> None:
    Log("x").info("paid", by="eve\nlevel=error msg=\x1b[2Jfake\u2028more\u202e")
    assert stream.getvalue().count("\n") == 1
    assert "\\nlevel=error" in stream.getvalue()
    assert "\\x1b[2J" in stream.getvalue()


@given(st.text())
def test_no_text_breaks_the_line(text: str) -> None:
    assert len(escape(text).splitlines()) <= 1


@given(st.lists(st.text() | st.text('"\\\\ =x\n\ud800'), max_size=4))
def test_every_text_is_read_back_as_it_was_and_adds_no_field(texts: list[str]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(journal._Logfmt())
    record = logging.makeLogRecord({"name": "stripe_payments.x", "levelname": "INFO", "msg": "said"})
    record.journal_fields = {f"text_{'abcd'[number]}": text for number, text in enumerate(texts)}
    handler.handle(record)
    (line,) = stream.getvalue().encode().splitlines()
    fields = entry(line)
    assert [fields.pop(name) for name in ("level", "part", "msg")] == ["info", "x", "said"]
    assert list(fields.values()) == texts


@pytest.mark.parametrize("back", range(30))
def test_truncating_a_long_entry_forges_nothing(stream: io.StringIO, back: int) -> None:
    forged = '" level=error part=keys msg="the key was given away'
    Log("x").info("said", text="a" * 5000 + forged + "b" * (1490 - len(forged) + back))
    Log("x").info("said", **dict.fromkeys(("one", "two", "three"), forged * 40 + "\\" * back))
    for line in stream.getvalue().splitlines():
        assert entry(line.encode())["level"] == "info"
        assert len(line) < 5000


def test_a_truncated_key_is_not_shown(stream: io.StringIO) -> None:
    for before in range(1480, 1510):
        Log("x").info("said", text="a" * before + " " + SECRET + " " + "b" * 5000)
    assert "ABCDEFGHIJ" not in stream.getvalue()


@pytest.mark.parametrize("locale", ["C.UTF-8", "POSIX"])
def test_no_locale_loses_an_entry_or_breaks_its_line(locale: str) -> None:
    """As the daemon's own process prints: on its standard output and error."""
    program = (
        "from stripe_payments import log; log.set_up()\n"
        "for say in (log.Log('x').info, log.Log('x').warning):\n"
        "    say('said', text='\\ud800 \\udcff \\u00e8 \\n', other='end')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(DAEMON), "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    for printed in (ran.stdout, ran.stderr):
        (line,) = printed.splitlines()
        assert entry(line)["text"] == "\ud800 \udcff \u00e8 \n"


def _raise(depth: int, text: str) -> None:
    if depth:
        _raise(depth - 1, text)
    try:
        raise KeyError(text)
    except KeyError as cause:
        raise RuntimeError(text) from cause


@pytest.mark.parametrize("depth", [0, 60])
@pytest.mark.parametrize("kind", ["short", "long", "wide", "secret"])
def test_an_entry_with_an_exception_fits_into_logd(stream: io.StringIO, kind: str, depth: int) -> None:
    """logd keeps 1024 bytes of a line: the error comes first, then where it was raised."""
    texts = {"long": "deep " * 5000, "wide": "\n€\U0001f600\x9f" * 3000, "secret": SECRET * 100}
    text = texts.get(kind, kind)
    try:
        _raise(depth, text)
    except RuntimeError as error:
        Log("x").error("failed", exc=error, method="grant", other=text)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert len(line.encode("utf-8", "backslashreplace")) <= 920
    assert line.startswith("level=error part=x msg=failed error=")
    found = entry(line.rstrip("\n").encode())
    assert found["error"].startswith("RuntimeError: ")
    assert found["method"] == "grant"
    if kind == "short":
        assert found["trace"].startswith("Traceback: foundations/test_log.py:")
        assert "caused by KeyError: 'short'" in found["trace"]
    assert SECRET not in line


def test_many_long_fields_fit_into_logd(stream: io.StringIO) -> None:
    Log("x").warning("said", **{f"field{number}": "€" * 500 for number in range(5)})
    assert len(stream.getvalue().encode()) <= 920


def test_a_field_with_a_broken_str_does_not_lose_the_entry(stream: io.StringIO) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    Log("x").info("said", thing=Broken())
    record = logging.makeLogRecord({"name": "library", "msg": "%d apples", "args": ("no",)})
    for handler in logging.getLogger().handlers:
        if getattr(handler, "stream", None) is stream:
            handler.handle(record)
    assert "thing=<Broken>" in stream.getvalue()
    assert "%d apples" in stream.getvalue()


def test_setting_up_twice_writes_once(stream: io.StringIO) -> None:
    again = io.StringIO()
    journal.set_up("warning", again)
    Log("x").info("quiet")
    Log("x").warning("loud")
    assert stream.getvalue() == ""
    assert again.getvalue() == "level=warning part=x msg=loud\n"
    journal.set_up("debug", stream)  # so that the fixture finds its own


def test_warnings_go_where_procd_logs_errors(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    journal.set_up("info")
    mine = [handler for handler in root.handlers if handler not in before]
    try:
        Log("service").info("ready")
        Log("service").warning("the bus is away")
    finally:
        for handler in mine:
            root.removeHandler(handler)
    printed = capsys.readouterr()
    assert printed.out == "level=info part=service msg=ready\n"
    assert printed.err == 'level=warning part=service msg="the bus is away"\n'
    assert stream.getvalue() == ""
