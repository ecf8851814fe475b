"""The stand-in for LuCI's client and LuCI's own client files (`LUCI_SRC`) do the same with the same code.

Each case is the body of an async function in a page of the app; `a` and `b` are nodes of that page's own.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.luci.conftest import LOADED, LUCI_SRC, PATIENCE_MS, open_visitor, scripted_router

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

CASES: Final[dict[str, tuple[str, object]]] = {
    "format": (
        """return [ '%s, %d%% of %s'.format('a<b', 7.9, null), '%.2f|%5d|'.format(1.005, 42),
            '%h'.format('<&>') ]""",
        ["a<b, 7% of null", "1.00|   42|", "&#60;&#38;&#62;"],
    ),
    "text and markup": (
        """return [ E('p', {}, [ '<b>x</b>' ]).innerHTML, E('p', {}, '<b>x</b>').innerHTML,
            E('p', [ 'x', null, 7 ]).outerHTML, E([ E('i'), E('b') ]).childNodes.length ]""",
        ["&lt;b&gt;x&lt;/b&gt;", "<b>x</b>", "<p>xnull7</p>", 2],
    ),
    "attributes": (
        """let clicks = 0;
        const click = () => clicks++;
        const node = E('button', { 'class': 'x', 'disabled': null, 'data-n': { n: 1 }, click });
        node.click();
        return [ node.outerHTML, clicks ]""",
        ['<button class="x" data-n="{&quot;n&quot;:1}"></button>', 1],
    ),
    "arrays": (
        "return [ null, '', ' a b ', [ 1 ], { x: 1 } ].map(value => L.toArray(value))",
        [[], [], ["a", "b"], [1], [{"x": 1}]],
    ),
    "objects": (
        "return [ {}, [], null, 'x', 0 ].map(value => L.isObject(value))",
        [True, True, False, False, False],
    ),
    "addresses": (
        """return [ L.url('admin/payments', 'shop'), L.resource('stripe-payments/x.css'), L.env.ubuspath,
            L.env.nodespec.action.modules[0], L.env.base_url, document.documentElement.lang ]""",
        [
            "/cgi-bin/luci/admin/payments/shop",
            "/luci-static/resources/stripe-payments/x.css",
            "/ubus/",
            "view.stripe-payments.shop",
            "/luci-static/resources",
            "en",
        ],
    ),
    "classes": (
        """const baseclass = await L.require('baseclass');
        const One = baseclass.extend({
            __init__(x) { this.x = x; },
            say(y) { return `one ${this.x} ${y}`; }
        });
        const Two = One.extend({ say(y) { return `two, ${this.super('say', [ y ])}`; } });
        const Three = Two.extend({ name: 'three' });
        return [ new Three(1).say(2), new Two(3) instanceof One, One.isSubclass(Two) ]""",
        [
            "two, two, one 1 2",
            True,
            True,
        ],  # `super` in an inherited method begins at the instance's class again
    ),
    "session": (
        """const session = await L.require('session');
        session.setLocalData('case', { x: 1 });
        const kept = session.getLocalData('case');
        session.setLocalData('case', null);
        return [ kept, session.getLocalData('case'), session.getID() == L.env.sessionid ]""",
        [{"x": 1}, None, True],
    ),
    "poll": (
        """const poll = await L.require('poll');
        const fn = () => {};
        return [ poll.add(fn, 60), poll.add(fn, 60), poll.active(), poll.remove(fn), poll.remove(fn) ]""",
        [True, False, True, True, False],
    ),
    "a call": (
        """const rpc = await L.require('rpc');
        const declare = more => rpc.declare({ object: 'stripe-payments', method: 'features', ...more });
        const refused = rpc.declare({ object: 'nowhere', method: 'x' });
        const get = rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ] });
        return [ Object.keys(await declare({})()), typeof(await declare({ expect: { none: 'x' } })()),
            await get('not_there'), await refused().catch(error => error.message.split('\\n')[0]) ]""",
        [["features"], "string", 6, "RPC call to nowhere/x failed with error -32000: Object not found"],
    ),
    "calls of one frame": (
        """const rpc = await L.require('rpc');
        const call = rpc.declare({ object: 'stripe-payments', method: 'features' });
        const alone = rpc.declare({ object: 'stripe-payments', method: 'features', nobatch: true });
        performance.clearResourceTimings();
        await Promise.all([ call(), call(), call(), alone() ]);
        return performance.getEntriesByType('resource').filter(one => one.name.includes('/ubus')).length""",
        2,
    ),
    "a dialogue": (
        """const node = L.ui.showModal('Title', [ E('p', {}, [ 'Words' ]) ], 'cbi-modal', 'sp-modal');
        const open = document.body.classList.contains('modal-overlay-active');
        const seen = [ node.innerHTML, node.getAttribute('role'), node.className, open,
            node.parentNode.id, document.activeElement.id ];
        L.ui.hideModal();
        return [ ...seen, document.body.classList.contains('modal-overlay-active') ]""",
        [
            "<h4>Title</h4><p>Words</p>",
            "dialog",
            "modal cbi-modal sp-modal",
            True,
            "modal_overlay",
            "modal_overlay",
            False,
        ],
    ),
    "a notification": (
        """const node = L.ui.addNotification('Title', E('p', {}, [ 'Words' ]), 'error');
        const seen = [ node.querySelector('h4').textContent, node.querySelector('p').textContent,
            node.classList.contains('alert-message'), node.classList.contains('error'), node.isConnected ];
        node.remove();
        return seen""",
        ["Title", "Words", True, True, True],
    ),
    "a handler": (
        """const button = E('button');
        let finish;
        const run = () => new Promise(resolve => { finish = resolve; });
        button.addEventListener('click', L.ui.createHandlerFn({}, run));
        button.click();
        const during = [ button.disabled, button.classList.contains('spinning') ];
        finish();
        await new Promise(resolve => setTimeout(resolve));
        return [ ...during, button.disabled, L.ui.createHandlerFn({}, 'not there') ]""",
        [True, True, False, None],
    ),
    "a module that is not there": (
        """const { message } = await L.require('not.there').catch(error => error);
        return message.split('\\n')[0].replace(/\\?v=[^"]*/, '')""",
        'HTTP error 404 while loading class file "/luci-static/resources/not/there.js"',
    ),
    "the menu": (
        """const payments = (await L.ui.menu.load()).children.admin.children.payments;
        return L.ui.menu.getChildren(payments).map(child => [ child.name, child.title ])""",
        [
            ["shop", "Shop"],
            ["features", "My features"],
            ["transactions", "Transactions"],
            ["setup", "Settings"],
        ],
    ),
    "configuration": (
        """const uci = await L.require('uci');
        await uci.load('stripe-payments');
        uci.set('stripe-payments', 'main', 'grace_days', '3');
        const get = option => uci.get('stripe-payments', 'main', option);
        const seen = [ get('grace_days'), get('none'),
            uci.sections('stripe-payments', 'payments').map(section => section['.name']) ];
        uci.unset('stripe-payments', 'main', 'grace_days');
        return [ ...seen, get('grace_days') ]""",
        ["3", None, ["main"], None],
    ),
}
"""Name -> code, and what it returns in both."""


@pytest_asyncio.fixture(
    loop_scope="session",
    scope="module",
    params=[
        pytest.param(None, id="standin"),
        pytest.param(LUCI_SRC, id="luci", marks=pytest.mark.skipif(LUCI_SRC is None, reason="no LUCI_SRC")),
    ],
)
async def client(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """A page of the app in one of the two clients, after LuCI has set itself up."""
    luci_src: Path | None = request.param
    async with scripted_router(luci_src) as router:
        visitor = await open_visitor(browser)
        await visitor.log_in(router.front.url)
        await expect(visitor.page.locator(".sp-card").first).to_be_visible()
        await visitor.page.wait_for_function(LOADED)
        yield visitor.page
        await visitor.context.close()


@pytest.mark.parametrize("name", CASES)
async def test_both_do_the_same(client: Page, name: str) -> None:
    code, wanted = CASES[name]
    assert await client.evaluate(f"async () => {{ {code} }}") == wanted
