"""`managed` on a real router: root has the seller's tools on the shell alone; the guide's login can buy."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.flows.conftest import ONETIME, Buyer
from tests.interop.world import SERVICE, OpenWrtWorld
from tests.luci.conftest import PATIENCE_MS, Visitor, browser, visitor, window

__all__ = ["browser", "visitor", "window"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
expect.set_options(timeout=PATIENCE_MS)

INIT = f"/etc/init.d/{SERVICE}"
SELLER = {"grant", "grants", "provision", "refund", "revoke", "set_keys", "setup_webhook"}
GUIDES = [
    Path(__file__).parents[2] / "docs" / name for name in ("operators-guide.md", "operators-guide.it.md")
]


@pytest_asyncio.fixture(name="world", loop_scope="session")
async def on_a_real_router(staging: Path, python_of_the_machine: None) -> AsyncIterator[OpenWrtWorld]:
    """Instead of the simulated world."""
    del python_of_the_machine
    async with OpenWrtWorld(staging) as world:
        yield world


def commands_of_the_guide(guide: Path, beginning: str) -> str:
    """The block of shell commands that begins so."""
    blocks: list[str] = re.findall(r"(?ms)^```sh\n(.*?)^```", guide.read_text())
    (found,) = [block for block in blocks if block.startswith(beginning)]
    return found


async def on_the_bus(world: OpenWrtWorld) -> set[str]:
    (info,) = await world.bus.lookup(SERVICE)
    return set(info.methods)


async def switch(world: OpenWrtWorld, *, managed: bool) -> None:
    """As the guide does it; returns when the bus shows it, and the init script has marked it for LuCI."""
    value = f"managed={int(managed)}"
    command = commands_of_the_guide(GUIDES[0], "uci set stripe-payments.main.managed")
    await asyncio.to_thread(world.openwrt.sh, "reload_config")  # as at boot: later ones compare with it
    await asyncio.to_thread(world.openwrt.sh, command.replace("managed=1", value))

    async def shown() -> bool:
        mark = await asyncio.to_thread(world.openwrt.run, "test", "-e", f"/var/run/{SERVICE}/managed")
        return bool(SELLER & await on_the_bus(world)) != managed and (mark.returncode == 0) == managed

    await world.wait_until(shown)


async def run(world: OpenWrtWorld, *words: str, text: str = "") -> tuple[int, str, str]:
    """A command of the init script."""
    done = await asyncio.to_thread(world.openwrt.run, INIT, *words, text=text)
    return done.returncode, done.stdout, done.stderr


async def test_root_has_the_sellers_methods_on_the_shell_and_nowhere_else(
    world: OpenWrtWorld, visitor: Visitor
) -> None:
    buyer = Buyer(world)
    bought = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    pid = world.daemon.pid
    await switch(world, managed=True)
    assert world.daemon.pid == pid

    listed = world.openwrt.sh(f"ubus -v list {SERVICE}")
    assert not [name for name in SELLER if f'"{name}"' in listed]
    for name in sorted(SELLER):
        refused = world.openwrt.run("ubus", "call", SERVICE, name, "{}")
        assert "Method not found" in refused.stderr, name

    # LuCI with root's login, whose rights are `*`
    lan = world.front.url.replace("127.0.0.1", "localhost")
    page = visitor.page
    await visitor.log_in(lan, path="/admin/payments/transactions")
    await expect(page.locator("[data-transaction]").first).to_be_visible()
    await expect(page.locator("[data-action=refund]")).to_have_count(0)
    await expect(page.locator('a[href$="/admin/payments/shop"]').first).to_be_attached()
    await expect(page.locator('a[href$="/admin/payments/setup"]')).to_have_count(0)
    await page.goto(f"{lan}/cgi-bin/luci/admin/payments/settings")
    await expect(page.locator(".sp-notices")).to_contain_text("managed by its provider")
    await expect(page.locator(".cbi-map")).to_have_count(0)

    # the shell
    code, said, _ = await run(world, "grant", "phone_support", "note=two words", "until=2099-01-01T00:00:00Z")
    assert (code, json.loads(said)["note"]) == (0, "two words")
    await buyer.everywhere("phone_support", unlocked=True)
    code, said, _ = await run(world, "revoke", "phone_support")
    assert (code, json.loads(said)["revoked"]) == (0, True)
    assert (await run(world, "provision", "dry_run=1"))[0] == 0
    assert (await run(world, "set_keys", text=f"{world.account.secret_key}\n"))[:2] == (
        0,
        "Stored. Mode: test\n",
    )
    code, _, complaint = await run(world, "set_keys", "sk_test_onTheCommandLine")
    assert (code, "must not be an argument" in complaint) == (1, True)
    code, _, complaint = await run(world, "refund", "pi_1")
    assert (code, "pi_1" in complaint) == (1, True)
    code, said, complaint = await run(world, "refund", bought)
    assert (code, complaint) == (0, ""), complaint
    await buyer.everywhere(unlocked=False)

    # and back
    await switch(world, managed=False)
    await visitor.log_in(lan, path="/admin/payments/settings")
    await page.get_by_role("tab", name="Advanced").click()
    await expect(page.locator(".cbi-map")).to_be_visible()
    menu = await (await visitor.context.request.get(f"{lan}/cgi-bin/luci/admin/menu")).json()
    payments = menu["children"]["admin"]["children"]["payments"]["children"]
    assert payments["setup"]["satisfied"] is True


async def test_the_socket_is_roots(world: OpenWrtWorld) -> None:
    program = f"""
        const socket = require('socket');
        const path = '/var/run/{SERVICE}/seller.sock';
        print(socket.connect({{ family: socket.AF_UNIX, path }}) ? 'open' : 'closed');
    """
    assert world.openwrt.run("ucode", "-e", program).stdout == "open"
    assert world.openwrt.run("ucode", "-e", program, user="nobody").stdout == "closed"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
async def test_the_login_of_the_guide_reads_and_buys_and_no_more(
    world: OpenWrtWorld, visitor: Visitor, guide: Path
) -> None:
    await switch(world, managed=True)
    await asyncio.to_thread(world.openwrt.sh, commands_of_the_guide(guide, "uci add rpcd login"))
    lan = world.front.url.replace("127.0.0.1", "localhost")
    form: dict[str, str | float | bool] = {"luci_username": "owner", "luci_password": "a good password"}
    await visitor.context.request.post(f"{lan}/cgi-bin/luci/", form=form, max_redirects=0)
    page = visitor.page
    await page.goto(f"{lan}/cgi-bin/luci/admin/payments/shop")
    await expect(page.locator("[data-way=pay]").first).to_be_enabled()

    async def call(target: str, method: str, **arguments: str) -> Any:
        return await page.evaluate(
            """async ([object, method, args]) => {
                const params = [ L.env.sessionid, object, method, args ];
                const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'call', params });

                return (await fetch('/ubus/', { method: 'POST', body })).json();
            }""",
            [target, method, arguments],
        )

    bought = await call(SERVICE, "create_checkout_session", price_id=ONETIME)
    assert bought["result"][0] == 0, bought
    for name in ("catalog", "features", "transactions", "subscriptions", "status", "check"):
        assert (await call(SERVICE, name))["result"][0] == 0, name
    denied = [(SERVICE, name) for name in sorted(SELLER)] + [("file", "exec"), ("system", "reboot")]
    for target, name in denied:
        reply = await call(target, name)
        assert "error" in reply or reply["result"][0] != 0, (target, name, reply)
    written = await call("uci", "set", config=SERVICE, section="main")
    assert "error" in written or written["result"][0] != 0, written
    await page.goto(f"{lan}/cgi-bin/luci/admin/status/overview")
    await expect(page.locator(".sp-widget")).to_contain_text("No plan")
