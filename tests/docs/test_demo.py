"""`make demo` as its own first lines describe it: its logins, its addresses, and the router's shell."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from simulator.router.uci_file import parse
from tests.docs.markdown import block_with
from tools.ipk.makefiles import run_makefiles

REPOSITORY: Final = Path(__file__).resolve().parents[2]
HOST: Final = "127.0.0.2"
"""Another address of this machine, as a phone's router would see one."""
PATIENCE_S: Final = 150.0
NO_SESSION: Final = "00000000000000000000000000000000"


@dataclass
class Demo:
    """What a person sees of it: its first lines."""

    text: str

    def word(self, pattern: str) -> str:
        (found,) = re.findall(pattern, self.text)
        return str(found)

    @property
    def root(self) -> Path:
        """The router's `/`."""
        return Path(self.word(r"router +(\S+/router) "))

    def shell(self, script: str, check: bool = True) -> str:
        """The output of a script, by a shell in the repository that has sourced the file from the banner."""
        source = f". {self.word(r'(?m)^ +[.] (.+/shell)$')}\n"
        done = subprocess.run(
            ["sh", "-c", source + script],
            cwd=REPOSITORY,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rpc(self, object_name: str, method: str, session: str = NO_SESSION, **arguments: Any) -> Any:
        """A call as LuCI makes it: `[status, reply]`."""
        front = self.word(r"Open (http://[^/]+)/")
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "call",
            "params": [session, object_name, method, arguments],
        }
        request = urllib.request.Request(
            f"{front}/ubus", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return json.load(response)["result"]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """Started once, ended by Ctrl-C, after which it says what stays; nothing does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", "0", "--stripe-port", "0", "--host", HOST],
        cwd=REPOSITORY,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        shown = Demo("".join(lines))
        folder = Path(shown.word(r"router +(\S+)/router"))
        assert folder.is_dir()
        yield shown
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(PATIENCE_S) == 0, rest
        assert f"{folder}/router and everything bought are removed." in rest
        assert "`make clean`" in rest
        assert not folder.exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_help_needs_nothing_but_python() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "simulator", "--help"],
        cwd=REPOSITORY,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--host" in done.stdout


def test_each_line_of_the_log_has_the_time(demo: Demo) -> None:
    lines = Path(demo.word(r"(?m)^ +log +(\S+)")).read_text().splitlines()
    assert lines
    assert all(re.match(r"time=2\d{3}-\d\d-\d\dT[\d:]{8}Z level=", line) for line in lines)


def test_links_and_pages_have_the_host_that_was_chosen(demo: Demo) -> None:
    front = demo.word(r"Open (http://[^/]+)/")
    assert front.startswith(f"http://{HOST}:")
    wanted = {
        "price_id": "price_premium_onetime",
        "success_url": f"{front}/payment-success",
        "cancel_url": f"{front}/payment-cancel",
    }
    reply = json.loads(
        demo.shell(f"ubus call stripe-payments create_checkout_session '{json.dumps(wanted)}'")
    )
    assert reply["checkout_url"].startswith(demo.word(r"Stripe +(\S+)"))
    with urllib.request.urlopen(reply["checkout_url"], timeout=PATIENCE_S) as response:
        page = response.read().decode()
    seller = json.loads(demo.shell("ubus call stripe-payments status"))["contact"]["name"]
    assert seller
    assert seller in page
    health = f"{front}/api/payments/health"
    for url in (health, health.replace(HOST, "127.0.0.1")):
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
            assert response.status == 200
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(front.replace(HOST, "127.0.0.3"), timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("login", "may"),
    [
        ("owner", {"features", "create_checkout_session"}),
        ("seller", {"features", "create_checkout_session", "refund", "grant", "set_keys"}),
        ("viewer", {"features"}),
    ],
)
def test_each_login_may_what_is_printed_beside_it(demo: Demo, login: str, may: set[str]) -> None:
    password = demo.word(rf"{login} +/ (\w+)")
    _, session = demo.rpc("session", "login", username=login, password=password)
    methods = ["features", "create_checkout_session", "refund", "grant", "set_keys"]
    allowed = {
        method
        for method in methods
        if demo.rpc(
            "session",
            "access",
            session["ubus_rpc_session"],
            scope="ubus",
            object="stripe-payments",
            function=method,
        )[1]["access"]
    }
    assert allowed == may
    answer = demo.rpc("luci", "getFeatures", session["ubus_rpc_session"])
    assert answer[0] == 0, "LuCI requests this first, and shows an error where it may not"


@pytest.mark.parametrize("document", ["operators-guide.md", "operators-guide.it.md"])
def test_the_owner_of_the_demo_has_the_login_of_the_guide(demo: Demo, document: str) -> None:
    text = (REPOSITORY / "docs" / document).read_text("utf-8")
    wanted = re.findall(r"(?m)^uci add_list rpcd\.@login\[-1\]\.(read|write)='(\S+)'$", text)
    sections = parse("rpcd", (demo.root / "etc/config/rpcd").read_text()).sections
    (owner,) = [one.options for one in sections if one.options.get("username") == "owner"]
    assert wanted == [(right, group) for right in ("read", "write") for group in owner[right]]


@pytest.mark.parametrize("document", ["integrating.md", "integrating.it.md"])
def test_the_smallest_package_is_the_one_that_is_shown(document: str, tmp_path: Path) -> None:
    example = REPOSITORY / "docs/examples/my-feature"
    assert block_with("IPKG_INSTROOT/usr/share", document) == (example / "my-feature.hotplug").read_text()
    assert block_with("BuildPackage", document, "make") == (example / "Makefile").read_text()
    (package,) = run_makefiles(tmp_path, tmp_path, ("docs/examples/my-feature",))
    installed = package.root / "etc/hotplug.d/stripe-payments/50-my-feature"
    assert installed.read_text() == (example / "my-feature.hotplug").read_text()


def test_the_smallest_package_works_in_the_demo_as_written(demo: Demo) -> None:
    assert demo.shell(block_with("grant my_feature", "integrating.md")).split()[-1] == "off"
    assert without_comments("integrating.md") == without_comments("integrating.it.md")


def without_comments(document: str) -> list[str]:
    return [
        line.partition("  #")[0].rstrip() for line in block_with("grant my_feature", document).splitlines()
    ]


def test_the_routers_shell_follows_the_guide(demo: Demo) -> None:
    """What its box says of the demo, as written, and the seller's commands of a managed router."""
    box = re.findall(r"(?m)^> (.*)$", (REPOSITORY / "docs/operators-guide.md").read_text())
    commands = box[box.index("```sh") + 1 : box.index("```")]
    out = demo.shell("\n".join(commands))
    assert out.startswith("Stored. Mode: test\n")
    assert '"dry_run": true' in out
    assert "[ok] prices" in out
    granted = demo.shell(
        "uci set stripe-payments.main.managed=1; uci commit stripe-payments; reload_config\n"
        "service stripe-payments grant phone_support until=2099-01-01T00:00:00Z"
    )
    assert json.loads(granted)["until"] == "2099-01-01T00:00:00Z"
    out = demo.shell("uci -q get stripe-features.none.unlocked || service uhttpd restart 2>&1", check=False)
    assert "does not know" in out
