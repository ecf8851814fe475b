"""The shell of a simulated router, as far as the documentation uses it: `ubus`, `uci`, `service` and
`reload_config`, for a person who follows the guides in the demo.

`install` writes them; `python -m simulator.router_shell COMMAND WORDS` is what they run. What each does is a
router's, in the cases that our documents have; all else is refused. Exit codes: 0 done, 1 refused.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ubus_py import Client, StatusError

REPOSITORY: Final = Path(__file__).resolve().parents[1]
COMMANDS: Final = ("uci", "service", "reload_config")
MARKS: Final = {"ok": "[ok]", "info": "[--]", "warning": "[ !]", "error": "[!!]"}
PREFIXES: Final = {
    "sk_": "secret_key",
    "rk_": "secret_key",
    "whsec_": "webhook_secret",
    "pk_": "publishable_key",
}
"""MARKS and PREFIXES: those of /usr/share/stripe-payments/command.uc."""


class RefusedError(Exception):
    """A sentence for the person at the shell."""


def install(root: Path, bus: Path, folder: Path) -> Path:
    """Write the commands below `folder`; returns the file that a shell sources to have them. Hotplug scripts
    of the router at `root` have them too.
    """
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    python, paths = shlex.quote(sys.executable), f"{REPOSITORY}:{REPOSITORY / 'daemon'}"
    head = f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(paths)} ROUTER_BUS={shlex.quote(str(bus))}\n"
    head += f"export ROUTER_ROOT={shlex.quote(str(root))}\n"
    programs = {name: f'-m simulator.router_shell {name} "$@"' for name in COMMANDS}
    programs["ubus"] = '-m tools.ubus -s "$ROUTER_BUS" "$@"'
    for name, words in programs.items():
        (commands / name).write_text(f"{head}exec {python} {words}\n")
        (commands / name).chmod(0o755)
    path = f'export PATH={shlex.quote(str(commands))}:"$PATH"\n'
    (root / "lib").mkdir(exist_ok=True)
    (root / "lib/functions.sh").write_text(path)
    shell = folder / "shell"
    shell.write_text(f"{path}export IPKG_INSTROOT={shlex.quote(str(root))}\n")
    return shell


async def main(command: str, words: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    run = {"uci": _uci, "service": _service, "reload_config": _reload_config}[command]
    async with Client(os.environ["ROUTER_BUS"]) as bus:
        try:
            return await run(bus, list(words))
        except RefusedError as error:
            print(error, file=sys.stderr)
            return 1
        except StatusError as error:
            data: Any = error.data
            print((data or {}).get("error", {}).get("message", error), file=sys.stderr)
            return 1


async def _reload_config(bus: Client, words: Sequence[str]) -> int:
    """procd notifies services of files that changed; here also of those that an editor wrote."""
    event: Any = {"type": "config.change", "data": {"package": "stripe-payments"}}
    await bus.call("service", "event", event)
    return 0


# -- uci


async def _uci(bus: Client, words: list[str]) -> int:
    quiet = words[:1] == ["-q"]
    try:
        return await _one_uci(bus, words[quiet:])
    except StatusError:
        if not quiet:
            print("uci: Entry not found", file=sys.stderr)
        return 1


async def _one_uci(bus: Client, words: list[str]) -> int:
    match words:
        case ["batch"]:
            for line in sys.stdin:
                if (inner := shlex.split(line)) and await _one_uci(bus, inner):
                    return 1
        case ["get", name]:
            print(_shown(await _value(bus, *await _parts(bus, name))))
        case ["show", name]:
            await _show(bus, name)
        case ["add", config, kind]:
            added: Any = await bus.call("uci", "add", {"config": config, "type": kind})
            print(added["section"])
        case ["set" | "add_list" as how, assignment] if "=" in assignment:
            name, _, value = assignment.partition("=")
            await _assign(bus, how, await _parts(bus, name), value)
        case ["delete", name]:
            config, section, option = await _parts(bus, name)
            await bus.call(
                "uci",
                "delete",
                {"config": config, "section": section, **({"option": option} if option else {})},
            )
        case ["commit", config]:
            await bus.call("uci", "commit", {"config": config})
        case _:
            raise RefusedError(f"The demo's uci does not know: {shlex.join(words)}")
    return 0


async def _parts(bus: Client, name: str) -> tuple[str, str, str]:
    """(configuration, section, option) of `C.S.O` or `C.S`; `@TYPE[-1]` is the section's name then."""
    match = re.fullmatch(r"([\w-]+)\.(@[\w-]+\[-?\d+\]|\w+)(?:\.(\w+))?", name)
    if match is None:
        raise RefusedError(f"uci: Invalid argument: {name}")
    config, section, option = match[1], match[2], match[3] or ""
    if section.startswith("@"):
        kind, _, index = section[1:-1].partition("[")
        rows = [row for row in (await _sections(bus, config)).values() if row[".type"] == kind]
        section = sorted(rows, key=lambda row: row[".index"])[int(index)][".name"]
    return config, section, option


async def _sections(bus: Client, config: str) -> dict[str, Any]:
    reply: Any = await bus.call("uci", "get", {"config": config})
    found: dict[str, Any] = reply["values"]
    return found


async def _value(bus: Client, config: str, section: str, option: str) -> Any:
    row = (await _sections(bus, config)).get(section, {})
    value = row.get(option or ".type")
    if value is None:
        raise RefusedError("uci: Entry not found")
    return value


def _shown(value: Any, *, quoted: bool = False) -> str:
    items = value if isinstance(value, list) else [value]
    return " ".join(f"'{item}'" if quoted else str(item) for item in items)


async def _show(bus: Client, name: str) -> None:
    config, _, wanted = name.partition(".")
    for section, row in (await _sections(bus, config)).items():
        if wanted in ("", section):
            print(f"{config}.{section}={row['.type']}")
            for option, value in row.items():
                if not option.startswith("."):
                    print(f"{config}.{section}.{option}={_shown(value, quoted=True)}")


async def _assign(bus: Client, how: str, where: tuple[str, str, str], value: str) -> None:
    config, section, option = where
    if not option:
        await bus.call("uci", "add", {"config": config, "type": value, "name": section})
        return
    stored: Any = value
    if how == "add_list":
        before = (await _sections(bus, config)).get(section, {}).get(option, [])
        stored = [*(before if isinstance(before, list) else [before]), value]
    await bus.call("uci", "set", {"config": config, "section": section, "values": {option: stored}})


# -- service


async def _service(bus: Client, words: list[str]) -> int:
    match words:
        case ["stripe-payments", "check"]:
            return await _check(bus)
        case ["stripe-payments", "sync"]:
            reply: Any = await bus.call("stripe-payments", "sync", {})
            print(
                f"Changed features: {', '.join(reply['changed'])}"
                if reply["changed"]
                else "Nothing has changed."
            )
        case ["stripe-payments", "reload"]:
            return await _reload_config(bus, [])
        case ["stripe-payments", "set_keys"]:
            print(f"Stored. Mode: {(await _seller('set_keys', _keys()))['mode']}")
        case ["stripe-payments", method, *given] if method in SELLERS:
            print(json.dumps(await _seller(method, given), indent="\t"))
        case ["rpcd", "reload"]:
            pass  # each login reads the file
        case _:
            raise RefusedError(f"The demo's service does not know: {shlex.join(words)}")
    return 0


SELLERS: Final = ("provision", "setup_webhook", "grants", "grant", "revoke", "refund")


async def _check(bus: Client) -> int:
    reply: Any = await bus.call("stripe-payments", "check", {"locale": "en"}, timeout=60)
    for entry in reply["checks"]:
        print(f"{MARKS[entry['severity']]} {entry['id']}: {entry['detail']}")
        if not entry["ok"] and entry["hint"]:
            print(f"     {entry['hint']}")
    return int(any(entry["severity"] == "error" for entry in reply["checks"]))


def _keys() -> list[str]:
    if sys.stdin.isatty():
        print("What you type is not shown. An empty line leaves that key as it is.", file=sys.stderr)
        questions = ("secret key (sk_… rk_…): ", "webhook secret (whsec_…): ", "publishable key (pk_…): ")
        lines = [getpass.getpass(question) for question in questions]
    else:
        lines = sys.stdin.read().splitlines()
    return [f"{_kind(line.strip())}={line.strip()}" for line in lines if line.strip()]


def _kind(key: str) -> str:
    for prefix, name in PREFIXES.items():
        if key.startswith(prefix):
            return name
    raise RefusedError("A key begins with sk_, rk_, whsec_ or pk_. Nothing was stored.")


async def _seller(method: str, words: Sequence[str]) -> Mapping[str, Any]:
    """A method over the seller's socket, which is there on a managed router too."""
    # The router's own path may be too long for a socket's: 107 bytes.
    path = (Path(os.environ["ROUTER_ROOT"]) / "var/run/stripe-payments").resolve() / "seller.sock"
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(json.dumps({"method": method, "words": list(words), "locale": "en"}).encode() + b"\n")
    reply = json.loads(await reader.readline())
    writer.close()
    if error := reply["data"].get("error"):
        raise RefusedError("\n".join(filter(None, (error["message"], error.get("hint")))))
    data: dict[str, Any] = reply["data"]
    return data


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
    except OSError as error:
        sys.exit(f"The demo's router does not answer: {error}")
