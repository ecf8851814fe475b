"""Every command that a hint names is followed to the letter on the real stack, or listed with the reason."""

import ast
from pathlib import Path

from tests.interop.remedies import BREAKS, COMMAND, FOLLOWED, NOT_FOLLOWED

DAEMON = Path(__file__).resolve().parents[2] / "daemon/stripe_payments"


def commands() -> set[str]:
    """Those of all translated texts: messages and hints of errors and of `check`."""
    found = set()
    for file in DAEMON.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_"):
                continue
            text = node.args[0] if node.args else None
            if isinstance(text, ast.Constant) and (command := COMMAND.search(str(text.value))):
                found.add(command[1])
    return found


def test_the_table_names_every_command_and_no_other() -> None:
    assert commands() == set(FOLLOWED) | set(NOT_FOLLOWED)


def test_what_is_followed_has_something_that_it_ends() -> None:
    assert set(FOLLOWED.values()) <= set(BREAKS)
    assert not set(FOLLOWED) & set(NOT_FOLLOWED)
