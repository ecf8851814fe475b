"""The recorded session with a real router's rpcd and procd, repeated command by command with our own tool.

Every answer, exit code and file must be the recorded one; ids that are random are compared by their form.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.tests.router.bus import Bus

REPOSITORY = Path(__file__).parents[3]
TRANSCRIPT = REPOSITORY / "tests/vectors/rpcd-transcript.txt"
ANY_SESSION = "<32-hex-session-id>"

BEFORE = """config thing main
	option a 1
	list l x
	list l y
"""
#: what the recorded router granted to its login, beside what every login has
ACL = {
    "demo": {
        "description": "for the transcript",
        "read": {"ubus": {"demo": ["echo"]}, "uci": ["luci"]},
    }
}


@dataclass
class Step:
    number: int
    command: str
    output: str
    code: int

    def __str__(self) -> str:
        return f"{self.number}: {self.command}"


def steps() -> Iterator[Step]:
    text = TRANSCRIPT.read_text()
    for number, block in enumerate(text.split("\n$ ")):
        lines = block.removeprefix("$ ").rstrip("\n").split("\n")
        code = lines.pop().removeprefix("exit: ")
        yield Step(number, lines[0], "\n".join(lines[1:]), int(code))


def without_blank_lines(text: str) -> str:
    """The transcript leaves blank lines out of the files it shows."""
    return "\n".join(line for line in text.split("\n") if line)


@dataclass
class Sessions:
    """Which session a recorded command was about: the transcript hides the ids."""

    login: str
    bare: str

    def of(self, step: Step) -> str:
        if '"access"' in step.output and "false" in step.output and '"demo"' in step.command:
            return self.bare
        return self.login


async def run(bus: Bus, arguments: list[str]) -> tuple[str, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tools.ubus",
        "-s",
        str(bus.socket),
        *arguments,
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return output.decode().rstrip("\n"), process.returncode


def arguments_of(command: str) -> list[str]:
    """The transcript shows a call's JSON without the shell's quotes."""
    words = command.split(" ")
    if words[1] == "call":
        return ["call", words[2], words[3], " ".join(words[4:])] if len(words) > 4 else words[1:]
    return shlex.split(command)[1:]


def comparable(text: str, session: str) -> str:
    text = text.replace(session, ANY_SESSION)
    text = re.sub(r"@[0-9a-f]{8}\b", "@<object-id>", text)
    return re.sub(r'("ubus_rpc_session": )"[0-9a-f]{32}"', rf'\1"{ANY_SESSION}"', text)


@pytest.fixture
def root(root: Path) -> Path:
    for config in (root / "etc/config").iterdir():
        if config.name.startswith("stripe-"):
            config.unlink()
    (root / "etc/config/spike").write_text(BEFORE)
    (root / "usr/share/rpcd/acl.d/demo.json").write_text(json.dumps(ACL))
    return root


async def test_the_transcript(bus: Bus) -> None:
    sessions = Sessions(await bus.login(), (await bus.call("session", "create"))["ubus_rpc_session"])
    # The recorded login had no right to the configuration "spike", as it was not granted.
    different = []
    for step in steps():
        if step.command.startswith("cat "):
            shown = (bus.root / step.command.removeprefix("cat /")).read_text()
            got, code = without_blank_lines(shown), 0
            wanted = without_blank_lines(step.output)
        else:
            session = sessions.of(step)
            command = step.command.replace(ANY_SESSION, session)
            output, code = await run(bus, arguments_of(command))
            got, wanted = comparable(output, session), step.output
        if (got, code) != (wanted, step.code):
            different.append(f"{step}\nwanted {step.code}:\n{wanted}\ngot {code}:\n{got}")
    assert not different, "\n\n".join(different)


def test_the_transcript_is_read_whole() -> None:
    assert len(list(steps())) == TRANSCRIPT.read_text().count("\nexit: ")
