"""The command `payments-hub`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
import uvloop

from payments_hub.audit import recorded
from payments_hub.catalog import CatalogError, parse
from payments_hub.command_line import AsJson, actor, config, fail, run, show, with_hub
from payments_hub.console import create_console
from payments_hub.database import migrate as migrate_database
from payments_hub.hub import Hub
from payments_hub.listeners import serve_beside, server
from payments_hub.metrics import create_metrics
from payments_hub.operator_commands import operators
from payments_hub.router_commands import codes, routers
from payments_hub.setup_commands import add_setup
from payments_hub.statements import rotate_keys
from payments_hub.web import Part, create_app
from stripe_payments.log import set_up
from stripe_payments.setup.provision import Provisioner

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
catalog = typer.Typer(no_args_is_help=True, help="The catalog: one TOML file.")
keys = typer.Typer(no_args_is_help=True, help="The keys that sign statements.")
app.add_typer(routers, name="routers")
app.add_typer(codes, name="codes")
app.add_typer(operators, name="operators")
app.add_typer(catalog, name="catalog")
app.add_typer(keys, name="keys")
add_setup(app)

MetricsPort = Annotated[int | None, typer.Option(help="Serve /metrics, on 127.0.0.1.")]


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    console_host: Annotated[
        str, typer.Option(help="Keep it off the internet: operators alone.")
    ] = "127.0.0.1",
    console_port: Annotated[int | None, typer.Option(help="Also serve /console and /metrics, there.")] = None,
    metrics_port: MetricsPort = None,
    only: Annotated[
        Part | None,
        typer.Option(help="Serve one part, with a database role of its own."),
    ] = None,
) -> None:
    """Serve routers and Stripe's webhook. Any number of instances may run."""
    settings = config()
    set_up()

    async def serving() -> None:
        async with Hub.open(settings) as hub:
            beside = [] if metrics_port is None else [metrics_server(hub, metrics_port)]
            if console_port is not None:
                beside.append(server(create_console(hub), console_host, console_port))
            await serve_beside(server(create_app(hub, only), host, port).serve(), *beside)

    run(serving(), new_loop=uvloop.new_event_loop)


@app.command()
def work(
    metrics_port: MetricsPort = None,
) -> None:
    """Work off webhook events and recompute accounts as time passes. Any number of workers may run."""
    settings = config()
    set_up()

    async def working() -> None:
        async with Hub.open(settings) as hub:
            beside = [] if metrics_port is None else [metrics_server(hub, metrics_port)]
            await serve_beside(hub.worker.run(), *beside)

    run(working())


@app.command()
def migrate() -> None:
    """Bring the database to this version; safe while instances of the version before run."""
    migrate_database(config().database_url)


@catalog.command("check")
def check_catalog(file: Path, as_json: AsJson = False) -> None:
    """Say what is wrong in a catalog file."""
    _read_catalog(file, as_json=as_json)
    show({"problems": []}, "", as_json=as_json)


@catalog.command("apply")
def apply_catalog(file: Path, dry_run: bool = False, replace: bool = False, as_json: AsJson = False) -> None:
    """Create missing products and prices at Stripe and put the catalog in force."""
    document = _read_catalog(file, as_json=as_json)

    async def apply(hub: Hub) -> dict[str, Any]:
        settings = parse(document).settings
        stored: dict[str, str] = {}

        async def store(prices: Mapping[str, str]) -> None:
            stored.update(prices)

        provisioner = Provisioner(hub.stripe, lambda: settings, store, lambda: hub.mode, _nothing)
        reply = await provisioner.provision(dry_run=dry_run, replace=replace)
        if not dry_run:
            prices = {row["id"]: row["price_id"] for row in reply["prices"] if row["price_id"]}
            async with recorded(hub.database, actor(), "apply_catalog"):
                reply["version"] = await hub.catalogs.apply(document, prices)
        return reply

    reply = with_hub(apply, as_json=as_json)
    text = "\n".join(
        f"{row['id']}: {row['action'] or row['state']} {row['detail']}" for row in reply["prices"]
    )
    show(reply, text, as_json=as_json)


@keys.command("rotate")
def rotate(as_json: AsJson = False) -> None:
    """Create a new signing key; the one before stays valid. Restart the instances afterwards."""
    made = rotate_keys(config(as_json=as_json).signing_key_file)
    show({"kid": made}, made, as_json=as_json)


def metrics_server(hub: Hub, port: int) -> uvicorn.Server:
    return server(create_metrics(hub.database), "127.0.0.1", port)


async def _nothing() -> None:
    return None


def _read_catalog(file: Path, *, as_json: bool) -> str:
    try:
        document = file.read_text("utf-8")
        parse(document)
    except CatalogError as error:
        fail("\n".join(error.problems), code="catalog", as_json=as_json)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}", code="catalog", as_json=as_json)
    return document


def main() -> None:
    app()


if __name__ == "__main__":
    main()
