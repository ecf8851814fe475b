"""`payments-hub routers …` and `payments-hub codes …`."""

from __future__ import annotations

from typing import Annotated

import typer

from payments_hub.command_line import AsJson, fail, operate, show, table

__all__ = ["codes", "routers"]

routers = typer.Typer(no_args_is_help=True, help="Routers: who they are, what they have, and why.")
codes = typer.Typer(no_args_is_help=True, help="Enrolment codes.")

_Days = Annotated[int, typer.Option(min=1, max=3650, help="Until the code expires.")]
_Note = Annotated[str, typer.Option(help="Shown beside the router: a board's serial.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


@codes.command("create")
def create_code(
    note: _Note = "",
    days: _Days = 90,
    router: Annotated[str, typer.Option(help="Instead: a new code for a router that is prepared.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a code that one router enrols with."""
    made = operate(lambda vendor: vendor.create_code(note, days, router or None), as_json=as_json)
    show(made, made["code"], as_json=as_json)


@routers.command("list")
def list_routers(text: Annotated[str, typer.Argument()] = "", as_json: AsJson = False) -> None:
    """List routers by a part of id, account, board, customer or note; by the customer's e-mail address; by
    the id of a payment or subscription.
    """
    found = operate(lambda vendor: vendor.find(text), as_json=as_json)
    rows = [
        (one["id"], one["status"], ",".join(one["flags"]), one["customer"], one["last_contact"], one["note"])
        for one in found
    ]
    columns = ("ROUTER", "STATUS", "FLAGS", "CUSTOMER", "LAST CONTACT", "NOTE")
    show({"routers": found}, table(columns, rows), as_json=as_json)


@routers.command("show")
def show_router(router: str, as_json: AsJson = False) -> None:
    """Show what a router has, and why."""
    found = operate(lambda vendor: vendor.show(router), as_json=as_json)
    lists = ("assignments", "features", "grants", "refunds", "subscriptions", "transactions")
    lines = [f"{name}: {value}" for name, value in found.items() if name not in (*lists, "next")]
    lines.append("features:")
    for name, held in found["features"].items():
        state = "unlocked" if held["unlocked"] else "locked"
        lines.append(f"  {name}: {state} ({held['reason']}) {held['source']} {held['until'] or ''}".rstrip())
        lines += [f"    {one['source']}: {one['reason']}" for one in held["sources"]]
    for name in ("grants", "subscriptions", "transactions", "assignments"):
        lines.append(f"{name}:")
        lines += ["  " + " ".join(f"{key}={value}" for key, value in one.items()) for one in found[name]]
    show(found, "\n".join(lines), as_json=as_json)


@routers.command("create")
def create_router(note: _Note = "", days: _Days = 90, as_json: AsJson = False) -> None:
    """Prepare a router before it is delivered: it has an id, and a code that it enrols with."""
    made = operate(lambda vendor: vendor.create(note, days), as_json=as_json)
    show(made, f"{made['router_id']}  {made['code']}", as_json=as_json)


@routers.command("revoke")
def revoke_router(
    router: str,
    undo: Annotated[bool, typer.Option("--undo", help="Accept a blocked router again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Block a router: its credential is refused from the next request on."""
    operate(lambda vendor: vendor.restore(router) if undo else vendor.revoke(router), as_json=as_json)
    show({"router_id": router, "status": "active" if undo else "revoked"}, "", as_json=as_json)


@routers.command("unflag")
def clear_flags(
    router: str,
    flag: Annotated[str, typer.Argument(help="clone or code_reused; without it, all.")] = "",
    as_json: AsJson = False,
) -> None:
    """Clear the flags of a router, when it is known what caused them. The audit log keeps them."""
    done = operate(lambda vendor: vendor.unflag(router, flag or None), as_json=as_json)
    show(done, "\n".join(done["flags"]), as_json=as_json)


@routers.command("rotate")
def rotate_credential(
    router: Annotated[str, typer.Argument()] = "",
    every: Annotated[bool, typer.Option("--all", help="Of every active router.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have a router exchange its credential at its next poll; the old one works until the new one is used."""
    if bool(router) == every:
        raise typer.BadParameter("name a router, or --all")
    done = operate(lambda vendor: vendor.rotate_all() if every else vendor.rotate(router), as_json=as_json)
    show(done, str(done["routers"]) if every else "", as_json=as_json)


@routers.command("replace")
def replace_router(router: str, note: _Note = "", days: _Days = 90, as_json: AsJson = False) -> None:
    """Create a code with which another router takes over what this one has, when it enrols; this one ends."""
    made = operate(lambda vendor: vendor.replace(router, note, days), as_json=as_json)
    show(made, made["code"], as_json=as_json)


@routers.command("grant")
def grant_feature(
    router: str,
    feature: str,
    until: Annotated[str, typer.Option(help="RFC 3339, UTC: 2027-01-31T00:00:00Z.")] = "",
    note: str = "",
    end: Annotated[bool, typer.Option("--end", help="End the grant instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Unlock a feature without payment, until a time or forever; or end that."""
    if end:
        done = operate(lambda vendor: vendor.end_grant(router, feature), as_json=as_json)
    else:
        done = operate(lambda vendor: vendor.grant(router, feature, until, note), as_json=as_json)
    show(done, "", as_json=as_json)


@routers.command("sync")
def sync_router(router: str, as_json: AsJson = False) -> None:
    """Fetch everything of a router's account from Stripe now."""
    done = operate(lambda vendor: vendor.sync(router), as_json=as_json)
    show(done, "\n".join(done["changed"]), as_json=as_json)


@routers.command("refund")
def refund_payment(
    router: str,
    payment: Annotated[str, typer.Argument(help="cs_…, pi_…, ch_… or in_…")],
    amount: Annotated[int | None, typer.Option(help="Minor units; without it, what is left.")] = None,
    reason: Annotated[str, typer.Option(help="duplicate, fraudulent or requested_by_customer.")] = "",
    as_json: AsJson = False,
) -> None:
    """Refund a payment of a router's account."""
    done = operate(lambda vendor: vendor.refund(router, payment, amount, reason), as_json=as_json)
    show(done, f"{done['id']} {done['status']} {done['amount']} {done['currency']}", as_json=as_json)


@routers.command("forget")
def forget_router(router: str, yes: _Yes = False, as_json: AsJson = False) -> None:
    """Erase what is stored of a router and its account here; Stripe's own data stay."""
    if not yes and (as_json or not typer.confirm(f"Erase all data of router {router}?", err=True)):
        fail("Nothing was erased.", "Confirm with --yes.", code="not_confirmed", as_json=as_json)
    done = operate(lambda vendor: vendor.forget(router), as_json=as_json)
    show(done, "", as_json=as_json)
