"""`payments-hub operators …`: who may use the console."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from payments_hub.command_line import AsJson, operate, show, table
from payments_hub.operators import new_password

__all__ = ["operators"]

operators = typer.Typer(no_args_is_help=True, help="Operators of the console: support or admin.")

_Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
_Generate = Annotated[bool, typer.Option("--generate", help="Make a password and print it.")]


@operators.command("create")
def create_operator(
    name: str,
    role: Annotated[str, typer.Option(help="support: find, show, sync; admin: everything.")] = "support",
    password_stdin: _Stdin = False,
    generate: _Generate = False,
    as_json: AsJson = False,
) -> None:
    """Create an operator."""
    password = _password(from_stdin=password_stdin, generate=generate)
    operate(lambda vendor: vendor.create_operator(name, role, password), as_json=as_json)
    made = {"name": name, "role": role, **({"password": password} if generate else {})}
    show(made, password if generate else "", as_json=as_json)


@operators.command("list")
def list_operators(as_json: AsJson = False) -> None:
    """List operators."""
    found = operate(lambda vendor: vendor.operators.all(), as_json=as_json)
    rows = [(one["name"], one["role"], one["disabled_at"], one["last_used"]) for one in found]
    columns = ("NAME", "ROLE", "DISABLED", "LAST USED")
    show({"operators": found}, table(columns, rows), as_json=as_json)


@operators.command("password")
def change_password(
    name: str, password_stdin: _Stdin = False, generate: _Generate = False, as_json: AsJson = False
) -> None:
    """Set an operator's password: logs them out everywhere, and enables one that was disabled."""
    password = _password(from_stdin=password_stdin, generate=generate)
    operate(lambda vendor: vendor.set_password(name, password), as_json=as_json)
    made = {"name": name, **({"password": password} if generate else {})}
    show(made, password if generate else "", as_json=as_json)


@operators.command("disable")
def disable_operator(name: str, as_json: AsJson = False) -> None:
    """Log an operator out, for good."""
    operate(lambda vendor: vendor.disable_operator(name), as_json=as_json)
    show({"name": name}, "", as_json=as_json)


def _password(*, from_stdin: bool, generate: bool) -> str:
    if generate:
        return new_password()
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    entered: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return entered
