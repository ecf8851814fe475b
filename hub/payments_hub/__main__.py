"""The command `payments-hub`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
import uvicorn

from payments_hub.catalog import CatalogError, parse
from payments_hub.config import Config, ConfigError
from payments_hub.database import migrate as migrate_database
from payments_hub.hub import Hub
from payments_hub.statements import rotate_keys
from payments_hub.web import create_app
from stripe_payments.errors import PaymentError
from stripe_payments.log import set_up
from stripe_payments.setup.provision import Provisioner

__all__ = ["app", "main"]

_T = TypeVar("_T")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
routers = typer.Typer(no_args_is_help=True, help="Routers: who they are, what they have.")
codes = typer.Typer(no_args_is_help=True, help="Enrolment codes.")
catalog = typer.Typer(no_args_is_help=True, help="The catalog: one TOML file.")
keys = typer.Typer(no_args_is_help=True, help="The keys that sign statements.")
app.add_typer(routers, name="routers")
app.add_typer(codes, name="codes")
app.add_typer(catalog, name="catalog")
app.add_typer(keys, name="keys")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command()
def serve(host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve routers and Stripe's webhook. Any number of instances may run."""
    config = _config()
    set_up()

    async def run() -> None:
        async with Hub.open(config) as hub:
            settings = uvicorn.Config(
                create_app(hub), host=host, port=port, log_config=None, access_log=False
            )
            await uvicorn.Server(settings).serve()

    _run(run())


@app.command()
def work() -> None:
    """Work off webhook events and recompute accounts as time passes. Any number of workers may run."""
    config = _config()
    set_up()

    async def run() -> None:
        async with Hub.open(config) as hub:
            await hub.worker.run()

    _run(run())


@app.command()
def migrate() -> None:
    """Bring the database to this version; safe while instances of the version before run."""
    migrate_database(_config().database_url)


@codes.command("create")
def create_code(note: str = "", days: int = 90, as_json: AsJson = False) -> None:
    """Create a code that one router enrols with; `--note` is shown beside the router (a board's serial)."""
    code = _with_hub(lambda hub: hub.routers.new_enrollment_code(note, days))
    _show({"code": code, "days": days}, code, as_json=as_json)


@routers.command("list")
def list_routers(text: str = "", as_json: AsJson = False) -> None:
    """List routers whose id, board, customer or note contains TEXT."""
    found = _with_hub(lambda hub: hub.routers.find(text))
    lines = [f"{one['id']}  {one['status']:8}  {one['customer'] or '-':20}  {one['note']}" for one in found]
    _show({"routers": found}, "\n".join(lines), as_json=as_json)


@routers.command("show")
def show_router(router: str, as_json: AsJson = False) -> None:
    """Show what a router has, and why."""

    async def read(hub: Hub) -> dict[str, Any]:
        row = await _router(hub, router)
        await hub.catalogs.current()
        async with hub.accounts.view(row["account"]) as account:
            features = account.reconciler.state.entitlements
            return {
                **row,
                "features": {
                    name: {"unlocked": held.unlocked, "source": held.source, "reason": held.reason}
                    for name, held in features.items()
                },
            }

    found = _with_hub(read)
    lines = [f"{name}: {value}" for name, value in found.items() if name != "features"]
    lines += [
        f"  {name}: {'unlocked' if held['unlocked'] else 'locked'} ({held['reason']}) {held['source']}"
        for name, held in found["features"].items()
    ]
    _show(found, "\n".join(lines), as_json=as_json)


@routers.command("revoke")
def revoke_router(router: str) -> None:
    """Block a router: its credential is refused from the next request on."""
    if not _with_hub(lambda hub: hub.routers.revoke(router)):
        _fail(f"there is no active router {router}")


@routers.command("grant")
def grant_feature(router: str, feature: str, until: str | None = None, note: str | None = None) -> None:
    """Unlock a feature without payment, until a time (RFC 3339) or for ever."""

    async def grant(hub: Hub) -> None:
        row = await _router(hub, router)
        await hub.catalogs.current()
        async with hub.accounts.open(row["account"]) as account:
            assert account is not None
            await account.grants.grant(feature, until, note)

    _with_hub(grant)


@routers.command("sync")
def sync_router(router: str) -> None:
    """Fetch everything of a router's account from Stripe now."""

    async def sync(hub: Hub) -> None:
        row = await _router(hub, router)
        await hub.catalogs.current()
        async with hub.accounts.open(row["account"]) as account:
            assert account is not None
            await account.poller.poll_everything()

    _with_hub(sync)


@catalog.command("check")
def check_catalog(file: Path) -> None:
    """Say what is wrong in a catalog file."""
    _read_catalog(file)


@catalog.command("apply")
def apply_catalog(file: Path, dry_run: bool = False, replace: bool = False, as_json: AsJson = False) -> None:
    """Create missing products and prices at Stripe and put the catalog in force."""
    document = _read_catalog(file)

    async def apply(hub: Hub) -> dict[str, Any]:
        settings = parse(document).settings
        stored: dict[str, str] = {}

        async def store(prices: Mapping[str, str]) -> None:
            stored.update(prices)

        provisioner = Provisioner(hub.stripe, lambda: settings, store, lambda: hub.mode, _nothing)
        reply = await provisioner.provision(dry_run=dry_run, replace=replace)
        if not dry_run:
            prices = {row["id"]: row["price_id"] for row in reply["prices"] if row["price_id"]}
            reply["version"] = await hub.catalogs.apply(document, prices)
        return reply

    reply = _with_hub(apply)
    text = "\n".join(
        f"{row['id']}: {row['action'] or row['state']} {row['detail']}" for row in reply["prices"]
    )
    _show(reply, text, as_json=as_json)


@keys.command("rotate")
def rotate() -> None:
    """Create a new signing key; the one before stays valid. Restart the instances afterwards."""
    typer.echo(rotate_keys(_config().signing_key_file))


async def _nothing() -> None:
    return None


async def _router(hub: Hub, router: str) -> dict[str, Any]:
    row = next((one for one in await hub.routers.find(router) if one["id"] == router), None)
    if row is None:
        _fail(f"there is no router {router}")
    return row


def _read_catalog(file: Path) -> str:
    try:
        document = file.read_text("utf-8")
        parse(document)
    except CatalogError as error:
        _fail("\n".join(error.problems))
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{file}: {error}")
    return document


def _config() -> Config:
    try:
        return Config.from_environment(os.environ)
    except ConfigError as error:
        _fail(str(error))


def _with_hub(do: Callable[[Hub], Awaitable[_T]]) -> _T:
    config = _config()

    async def run() -> _T:
        async with Hub.open(config) as hub:
            return await do(hub)

    return _run(run())


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except PaymentError as error:
        _fail(f"{error.message} {error.hint_in('en') or ''}")
    except (OSError, ValueError) as error:
        _fail(str(error))


def _show(result: object, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(result, indent=1) if as_json else text)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
