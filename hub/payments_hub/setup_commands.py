"""`payments-hub webhook ensure`, `import` and `doctor`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from payments_hub.audit import recorded
from payments_hub.command_line import AsJson, actor, config, locale, run, show, table, with_hub
from payments_hub.direct_mode import import_routers
from payments_hub.doctor import examine
from payments_hub.hub import Hub
from payments_hub.webhook_endpoint import ensure_endpoint
from stripe_payments.files import write_durably

__all__ = ["add_setup"]

webhook = typer.Typer(no_args_is_help=True, help="The webhook endpoint at Stripe.")

_SecretFile = Annotated[
    Path | None, typer.Option(help="Write the secret of a new endpoint here (0600), and do not print it.")
]


def add_setup(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(webhook, name="webhook")
    app.command("import")(import_direct_mode)
    app.command()(doctor)


@webhook.command("ensure")
def ensure_webhook(
    secret_file: _SecretFile = None,
    recreate: Annotated[bool, typer.Option("--recreate", help="Also one that is as it should be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create the endpoint at Stripe, or correct it. A new one has a new secret: STRIPE_WEBHOOK_SECRET of all
    instances, which is shown only now.
    """
    shown: dict[str, str] = {}

    def keep(secret: str) -> None:
        if secret_file is None:
            shown["secret"] = secret
        else:
            write_durably(secret_file, f"{secret}\n".encode())
            shown["secret_file"] = str(secret_file)

    async def ensure(hub: Hub) -> dict[str, Any]:
        async with recorded(hub.database, actor(), "webhook"):
            return await ensure_endpoint(hub.config, hub.database, hub.stripe, keep, recreate=recreate)

    made = with_hub(ensure, as_json=as_json) | shown
    lines = [f"{made['action']}: {made['id']} {made['url']}"]
    lines += [f"STRIPE_WEBHOOK_SECRET={shown['secret']}"] if "secret" in shown else []
    lines += [f"STRIPE_WEBHOOK_SECRET_FILE={secret_file}"] if "secret_file" in shown else []
    show(made, "\n".join(lines), as_json=as_json)


def import_direct_mode(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be imported.")] = False,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Until the codes expire.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Take over the routers of direct mode, from Stripe's customers, and create a code for each. It may be
    repeated: what is there already is left as it is.
    """
    progress = Progress(console=Console(stderr=True), transient=True, redirect_stdout=False)
    stored: list[dict[str, Any]] = []

    def counted(count: int) -> None:
        progress.update(bar, total=count)

    def imported(row: dict[str, Any]) -> None:
        stored.append(row)
        progress.advance(bar)

    done: dict[str, Any] = {"routers": stored, "complete": False}
    try:
        with progress:
            bar = progress.add_task("import", total=None)
            done = with_hub(_importing(dry_run, days, counted, imported)) | {"complete": True}
    finally:  # also what was stored before an error: no code is ever shown again
        names = ("account", "router_id", "code", "customer", "email")
        rows = [[one[name] for name in names] for one in done["routers"]]
        show(done, table(("ACCOUNT", "ROUTER", "CODE", "CUSTOMER", "E-MAIL"), rows), as_json=as_json)


def _importing(
    dry_run: bool, days: int, counted: Callable[[int], None], imported: Callable[[dict[str, Any]], None]
) -> Callable[[Hub], Any]:
    return lambda hub: import_routers(
        hub, actor(), dry_run=dry_run, days=days, found=counted, imported=imported
    )


def doctor(as_json: AsJson = False) -> None:
    """Examine the installation: what is wrong, and what to do about it. Exit code 1 for an error."""
    settings = config(as_json=as_json)
    findings = run(examine(settings, os.environ), as_json=as_json)
    rows = [
        {
            "id": name,
            "severity": found.severity,
            "detail": found.detail.in_locale(locale()),
            "hint": found.hint.in_locale(locale()) if found.hint is not None else None,
        }
        for name, found in findings
    ]
    lines = []
    for row in rows:
        lines.append(f"{row['severity']:8} {row['id']}: {row['detail']}")
        lines += [f"{'':8} → {row['hint']}"] if row["hint"] else []
    show({"checks": rows}, "\n".join(lines), as_json=as_json)
    if any(row["severity"] == "error" for row in rows):
        raise typer.Exit(1)
