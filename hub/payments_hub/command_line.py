"""What all commands of `payments-hub` share: configuration, output, errors and exit codes.

Exit codes: 0 done; 1 refused or failed, with a sentence and a hint; 2 wrong arguments; 130 interrupted. With
``--json`` the result, or ``{"error": {code, message, hint}}``, is the only thing on standard output.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import psycopg
import typer
from psycopg_pool import PoolTimeout
from rich.console import Console
from rich.table import Table

from payments_hub.config import Config, ConfigError
from payments_hub.errors import HubError, VendorError
from payments_hub.hub import Hub
from payments_hub.operations import Operations
from payments_hub.texts import _, language
from stripe_payments.errors import PaymentError

__all__ = ["AsJson", "actor", "config", "fail", "locale", "operate", "run", "show", "table", "with_hub"]

_T = TypeVar("_T")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

_WIDE = 240
"""Columns where the output is no terminal: a table that is read by a program is not wrapped."""


def locale() -> str:
    """The language of the terminal: en or it."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return language(value) or "en"
    return "en"


def config(*, as_json: bool = False) -> Config:
    """The configuration; ends the command where it is wrong."""
    try:
        return Config.from_environment(os.environ)
    except ConfigError as error:
        hint = _("docs/hub.md lists the settings; each can also be the path of a file, as NAME_FILE.")
        fail(str(error), hint.in_locale(locale()), code="not_configured", as_json=as_json)


def with_hub(do: Callable[[Hub], Awaitable[_T]], *, as_json: bool = False) -> _T:
    """Run with an open hub."""
    settings = config(as_json=as_json)

    async def opened() -> _T:
        async with Hub.open(settings) as hub:
            return await do(hub)

    return run(opened(), as_json=as_json)


def operate(do: Callable[[Operations], Awaitable[_T]], *, as_json: bool = False) -> _T:
    """Run an operation; the audit log names the user of this shell."""
    return with_hub(lambda hub: do(Operations(hub, actor())), as_json=as_json)


def run(
    work: Coroutine[Any, Any, _T],
    *,
    as_json: bool = False,
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """The result; errors end the command with their sentence and hint."""
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except VendorError as error:
        message, hint = error.message.in_locale(locale()), error.hint.in_locale(locale())
        fail(message, hint, code=error.code, as_json=as_json)
    except PaymentError as error:
        message = error.message_in(locale())
        fail(message, error.hint_in(locale()) or "", code=error.code, as_json=as_json)
    except HubError as error:
        body = error.body(locale())["error"]
        fail(body["message"], body["hint"], code=error.code, as_json=as_json)
    except (psycopg.Error, PoolTimeout) as error:
        reason = _("The database failed: {reason}", reason=str(error).partition("\n")[0])
        remedy = _("“payments-hub doctor” says what is wrong; “payments-hub migrate” creates missing tables.")
        fail(reason.in_locale(locale()), remedy.in_locale(locale()), code="database", as_json=as_json)
    except (OSError, ValueError) as error:
        fail(str(error), as_json=as_json)


def show(result: object, text: str | Table, *, as_json: bool) -> None:
    """Print a result: as JSON, or for a person."""
    if as_json:
        typer.echo(json.dumps(result, indent=1, default=str))
    elif isinstance(text, str):
        typer.echo(text)
    else:
        out = Console(highlight=False)
        (out if out.is_terminal else Console(highlight=False, width=_WIDE)).print(text)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table of texts."""
    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*["-" if value in (None, "") else str(value) for value in row])
    return drawn


def fail(message: str, hint: str = "", *, code: str = "failed", as_json: bool = False) -> NoReturn:
    """End the command with a sentence and a hint."""
    if as_json:
        error: Mapping[str, str] = {"code": code, "message": message, "hint": hint}
        typer.echo(json.dumps({"error": error}, indent=1))
    typer.echo(f"{message}\n{hint}".rstrip(), err=True)
    raise typer.Exit(1)


def actor() -> str:
    """Who uses the shell; behind sudo, who called it."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"cli:{user}"
