"""The instruments themselves: that they find what is there, and say how to find it again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from campaigns.attack.fuzzing import Target, fuzz
from campaigns.attack.gateway_requests import fault_of
from campaigns.attack.json_mutations import DELETED, mutated, paths, placed
from campaigns.attack.leakage import Secrets, spellings
from campaigns.attack.log_lines import ForgedLogError, entry
from campaigns.attack.pages import skeleton
from campaigns.attack.return_addresses import ALLOWED, foreign
from campaigns.report import Tally

REPOSITORY = Path(__file__).resolve().parents[2]


class _Fragile(Target):
    """Breaks at every input that holds an x, and remembers whether it is a new one."""

    name = "blobmsg"
    opened = 0

    async def __aenter__(self) -> _Fragile:
        _Fragile.opened += 1
        return self

    async def attempt(self, given: bytes) -> str | None:
        if b"x" in given:
            raise ValueError("x")
        return None

    def mutate(self, chance: Random, given: bytes) -> bytes:
        return b"x" if chance.random() < 0.2 else b"y"


async def test_what_breaks_is_written_down_and_met_with_a_new_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _Fragile.opened = 0
    line = Tally("blobmsg", "")
    await fuzz(_Fragile, Cases(line, tmp_path, count=40, seed=3))
    broken = [failure for failure in line.failures if "ValueError: x" in failure]
    assert 2 <= len(broken) < 30
    assert _Fragile.opened == len(broken) + 1
    file = Path(broken[0].partition("--input ")[2].removesuffix(")"))
    assert b"x" in file.read_bytes()
    assert "--only blobmsg" in broken[0]


def test_the_same_seed_tries_the_same(tmp_path: Path) -> None:
    one, two = (Cases(Tally("a", ""), tmp_path, count=3, seed=7) for _ in range(2))
    assert [one.chance.random() for _ in range(5)] == [two.chance.random() for _ in range(5)]
    assert list(one.rounds()) == [0, 1, 2]
    assert Cases(Tally("b", ""), tmp_path, count=3, seed=7).chance.random() != one.chance.random()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Traceback (most recent call last):",
        b"level=info part=x msg=a level=error",
        b'level=info part=x msg="a" b" c="d"',
        b"level=info part=x msg=a\x1b[2J",
        b"level=info part=x msg=\xff",
        "level=info part=x msg=a\u2028b".encode(),
        b"part=x level=info msg=a",
        b"level=shouting part=x msg=a",
    ],
)
def test_a_forged_entry_is_none(line: bytes) -> None:
    with pytest.raises(ForgedLogError):
        entry(line)


def test_an_entry_is_read_as_it_was_meant() -> None:
    assert entry(rb'level=info part=x msg="a b" text="\\ \"q\" \n \u2028" n=7')["text"] == '\\ "q" \n \u2028'


@pytest.mark.parametrize(
    "address",
    [
        "http://192.168.1.1@evil.example/",
        "http://192.168.1.1.evil.example/",
        "https://192.168.1.1/",
        "http://192.168.1.1:8080/x",
        "//192.168.1.1/",
        "javascript:alert(1)",
        "http://192.168.1.1/\\x",
        "http://192.168.1.1/ x",
        "http://evil.example/http://192.168.1.1/",
    ],
)
def test_a_foreign_address_is_seen_to_be_one(address: str) -> None:
    assert foreign(address, ALLOWED)
    assert foreign("http://192.168.1.1:80/x?y#z", ALLOWED) is None


def test_a_page_that_a_text_changed_is_built_otherwise() -> None:
    plain = skeleton("<p class=a>x</p>")
    assert skeleton("<p class=a>&lt;b&gt;</p>") == plain
    for broken in (
        "<p class=a><b>x</p>",
        "<p class=a onclick=x>x</p>",
        "<p class=a>x<!-- --></p>",
        "<p class=a>x",
    ):
        assert skeleton(broken) != plain


def test_answers_that_break_http_or_are_not_documented_are_found() -> None:
    right = {"status": 200, "reason": "OK", "headers": {"Content-Type": "text/html"}, "body": "x"}
    assert fault_of(right) is None
    refused = json.dumps({"error": {"code": "not_found", "message": "x"}})
    documented = {**right, "status": 404, "headers": {"Content-Type": "application/json"}, "body": refused}
    assert fault_of(documented) is None
    for wrong in (
        {**right, "headers": {"A": "x\r\nB: y"}},
        {**right, "reason": "O\nK"},
        {**right, "body": "\udcff"},
        {**right, "status": 500},
        {**documented, "status": 400},
        {**documented, "body": refused.replace("not_found", "invented")},
        {},
    ):
        assert fault_of(wrong) is not None


def test_a_secret_is_found_in_every_spelling_and_its_end_is_none() -> None:
    marked = Secrets()
    for spelt in spellings(marked.key):
        assert "the key" in marked.found_in(b"before " + spelt + b" after")
    assert marked.found_in(f"sk_test_…{marked.key[-4:]} {marked.key[-8:]}".encode()) == []


def test_a_trace_in_the_log_is_a_complaint() -> None:
    import logging

    with listening() as complaints:
        logging.getLogger("stripe_payments.x").warning("no complaint")
        assert complaints.taken() is None
        try:
            raise KeyError("data")
        except KeyError:
            logging.getLogger("stripe_payments.x").exception("a method failed")
        assert "KeyError" in str(complaints.taken())
        assert complaints.taken() is None


def test_mutations_change_one_thing_and_leave_the_original() -> None:
    tree = {"a": [1, {"b": None}], "c": "d"}
    known = json.dumps(tree)
    found = {json.dumps(mutated(Random(number), tree)) for number in range(300)}
    assert json.dumps(tree) == known
    assert len(found) > 50
    assert placed(tree, ("a", 1, "b"), DELETED) == {"a": [1, {}], "c": "d"}
    assert placed(tree, ("x", 1), 1) == tree
    assert len(list(paths(tree))) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--only", "nonsense"], 2, "invalid choice: 'nonsense'"),
        (["--only", "sessions", "--input", __file__], 1, "--input needs the name of one fuzzed part"),
        (["--only", "blobmsg", "--input", __file__], 0, "2 held"),
    ],
)
def test_the_command(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "campaigns", "attack", *arguments],
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == code, ran.stderr
    assert said in ran.stdout + ran.stderr
