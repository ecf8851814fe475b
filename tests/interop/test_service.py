"""The service under procd: how it runs, what its init script can do, and how it comes back."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.daemon_process import LOGD_BYTES
from tests.docs.markdown import example_script
from tests.interop.openwrt import OpenWrt
from tests.interop.packages import install_payments
from tests.interop.world import SERVICE, OpenWrtWorld, ServiceOfProcd
from ubus_py import CallTimeout, StatusError, Value

INIT = f"/etc/init.d/{SERVICE}"


def status_of(world: OpenWrtWorld) -> dict[str, str]:
    """/proc/PID/status of the daemon."""
    text = world.openwrt.sh(f"cat /proc/{world.daemon.pid}/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


async def until(world: OpenWrtWorld, condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(world.openwrt.wait_until, condition, what)


async def test_it_runs_as_its_user_without_any_capability_in_a_jail(world: OpenWrtWorld) -> None:
    openwrt = world.openwrt
    status = status_of(world)
    uid = openwrt.sh(f"id -u {SERVICE}").strip()
    gid = openwrt.sh(f"id -g {SERVICE}").strip()
    assert status["Uid"].split() == [uid] * 4
    assert status["Gid"].split() == [gid] * 4
    assert set(status["Groups"].split()) <= {gid}
    assert status["NoNewPrivs"] == "1"
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[capabilities], 16) == 0, capabilities
    seen = openwrt.sh(f"ls /proc/{world.daemon.pid}/root/etc").split()
    assert "shadow" not in seen
    assert "config" not in seen
    assert openwrt.sh(f"find /proc/{world.daemon.pid}/root/tmp -type f 2>/dev/null || :") == ""


async def test_without_a_jail_it_runs_as_its_user_and_a_reload_right_after_the_start_does_not_end_it(
    staging: Path, python_of_the_machine: None
) -> None:
    """In a jail it is the first process of its namespace, which no signal without a handler ends."""
    del python_of_the_machine
    async with OpenWrtWorld(staging, without=("usr/sbin/ujail",)) as world:
        assert status_of(world)["Uid"].split()[0] == world.openwrt.sh(f"id -u {SERVICE}").strip()
        assert int(status_of(world)["CapEff"], 16) == 0
        name = re.search(r"(?m)^RELOAD=(\w+)$", (world.openwrt.root / INIT[1:]).read_text())
        assert name
        words = {"name": SERVICE, "instance": "daemon", "signal": int(world.openwrt.sh(f"kill -l {name[1]}"))}
        started = await asyncio.to_thread(
            world.openwrt.sh,
            f"{INIT} restart; ubus call service list '{json.dumps({'name': SERVICE})}' "
            "| jsonfilter -e '@.*.instances.daemon.pid'; "
            f"until ubus list {SERVICE} >/dev/null; do ubus call service signal '{json.dumps(words)}'; done",
        )
        await world.daemon_answers()
        assert world.openwrt.pid_of(SERVICE, "daemon") == int(started)


async def test_no_secret_where_procd_shows_it(world: OpenWrtWorld) -> None:
    shown = world.openwrt.sh("ubus call service list")
    assert world.account.secret_key not in shown
    for kept in ("sk_", "whsec_", "STRIPE_SECRET"):
        assert kept not in shown
    assert world.account.secret_key not in world.openwrt.log()


async def test_a_missing_user_is_refused_with_words(world: OpenWrtWorld) -> None:
    openwrt = world.openwrt
    # first, because a trigger of procd (an interface that came up 3 s ago) may call `reload` at any moment
    openwrt.sh("sed -i '/^stripe-payments:/d' /etc/passwd")
    openwrt.sh(f"{INIT} stop")
    await until(world, lambda: world.openwrt.pid_of(SERVICE, "daemon") is None, "it has stopped")
    refused = openwrt.run(INIT, "start")
    assert refused.returncode == 1
    assert "no user" in refused.stderr
    assert openwrt.pid_of(SERVICE, "daemon") is None
    openwrt.sh("sh /usr/share/stripe-payments/set-up.sh; " + INIT + " start")
    await world.daemon_answers()


async def test_it_reads_a_changed_configuration_without_restarting(world: OpenWrtWorld) -> None:
    pid = world.daemon.pid
    for command in (
        'ubus call uci set \'{"config":"stripe-payments","section":"router_os_premium",'
        '"values":{"title":"Another title"}}\'',
        'ubus call uci commit \'{"config":"stripe-payments"}\'',
    ):
        world.openwrt.sh(command)

    async def read() -> bool:
        catalog = await world.bus.call(SERVICE, "catalog", {"locale": "en"})
        return "Another title" in json.dumps(catalog)

    await world.wait_until(read)
    assert world.daemon.pid == pid


@pytest.mark.parametrize(("option", "level"), [("debug", "debug"), ("loud; reboot", "info")])
async def test_the_log_s_level_is_an_option(world: OpenWrtWorld, option: str, level: str) -> None:
    world.openwrt.sh(f"uci set stripe-payments.main.log_level='{option}'; uci commit stripe-payments")
    world.openwrt.sh(f"{INIT} restart")
    (daemon,) = json.loads(
        world.openwrt.sh(f"ubus call service list '{json.dumps({'name': SERVICE})}'")
    ).values()
    assert daemon["instances"]["daemon"]["command"][-2:] == ["--log-level", level]
    if level == "debug":
        await world.daemon_answers()
        await asyncio.to_thread(world.openwrt.run, INIT, "check")
        request = "level=debug part=stripe_api msg=request"
        await until(world, lambda: request in world.openwrt.log(), "a request is logged")


async def test_reload_does_not_restart_and_a_new_version_does(world: OpenWrtWorld) -> None:
    pid = world.daemon.pid
    world.openwrt.sh(f"{INIT} reload")
    world.openwrt.sh(f"{INIT} start")
    await world.daemon_answers()
    assert world.daemon.pid == pid
    # an upgrade by apk replaces the files, and calls `start` alone
    code = world.openwrt.root / "usr/lib/stripe-payments/stripe_payments/__init__.py"
    code.write_text(re.sub(r'__version__ = ".*"', '__version__ = "99.0.1"', code.read_text()))
    world.openwrt.sh(f"{INIT} start")

    async def upgraded() -> bool:
        # ubusd does not tell the caller that the called one has left in the middle of a call
        with contextlib.suppress(StatusError, CallTimeout):
            return (await world.bus.call(SERVICE, "status", {}, timeout=2)).get("version") == "99.0.1"
        return False

    await world.wait_until(upgraded)
    assert world.daemon.pid != pid


async def test_a_new_resolver_restarts_a_jailed_daemon(world: OpenWrtWorld) -> None:
    """What ujail mounts of a single file is that file for ever: a new resolv.conf would not be seen."""
    pid = world.daemon.pid
    world.openwrt.sh("echo nameserver 127.0.0.53 >/tmp/resolv.conf; ln -sf /tmp/resolv.conf /etc/resolv.conf")
    event = {"type": "interface.wan.up", "data": {"action": "ifup", "interface": "wan"}}
    world.openwrt.sh(f"ubus call service event '{json.dumps(event)}'")
    await until(world, lambda: world.daemon.pid not in (None, pid), "procd starts it again")
    await world.daemon_answers()
    assert "127.0.0.53" in world.openwrt.sh(f"cat /proc/{world.daemon.pid}/root/etc/resolv.conf")


async def test_killed_it_is_back_with_everything(world: OpenWrtWorld) -> None:
    pid = world.daemon.pid
    router_id = (await world.bus.call(SERVICE, "status", {}))["router_id"]
    await world.daemon.kill()
    await until(world, lambda: world.daemon.pid not in (None, pid), "procd starts it again")
    await world.daemon_answers()
    assert (await world.bus.call(SERVICE, "status", {}))["router_id"] == router_id


async def test_stop_is_quick_and_clean(world: OpenWrtWorld) -> None:
    service = ServiceOfProcd(world.openwrt)
    await service.stop()
    await until(world, lambda: world.openwrt.pid_of(SERVICE, "daemon") is None, "it has stopped")
    assert world.openwrt.run("ubus", "list", "stripe-payments*").stdout.split() == ["stripe-payments.uci"]
    assert "msg=stopped" in world.openwrt.log()


async def test_keys_come_from_standard_input_and_are_never_shown(world: OpenWrtWorld) -> None:
    openwrt = world.openwrt

    async def set_keys(text: str, *words: str) -> subprocess.CompletedProcess[str]:
        """In a thread: the daemon asks the simulated Stripe of this process."""
        return await asyncio.to_thread(openwrt.run, INIT, "set_keys", *words, text=text)

    stored = await set_keys("sk_test_anotherKeyOfThisRouter1234\n\nwhsec_another1234\n")
    assert (stored.returncode, stored.stdout) == (0, "Stored. Mode: test\n")
    kept = openwrt.root / "etc/stripe-payments/secrets.json"
    assert json.loads(kept.read_text())["secret_key"] == "sk_test_anotherKeyOfThisRouter1234"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "anotherKeyOfThisRouter" not in openwrt.log()
    refused = await set_keys("sk_test_invalid1234567890\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Stripe does not accept this secret key." in refused.stderr
    assert json.loads(kept.read_text())["secret_key"] == "sk_test_anotherKeyOfThisRouter1234"
    forced = await set_keys("sk_test_invalid1234567890\n", "--force")
    assert (forced.returncode, forced.stdout) == (0, "Stored. Mode: test\n")
    refused = await set_keys("hello\n")
    assert refused.returncode == 1
    assert "sk_" in refused.stderr
    nothing = await set_keys("\n")
    assert nothing.returncode == 1


async def test_keys_typed_at_a_terminal_are_not_echoed(world: OpenWrtWorld) -> None:
    shown, code = await asyncio.to_thread(
        _at_a_terminal,
        [*world.openwrt.command(), INIT, "set_keys"],
        [("secret key", "sk_test_typedAtATerminal12345678"), ("webhook secret", ""), ("publishable key", "")],
    )
    assert code == 0, shown
    assert "typedAtATerminal" not in shown
    assert "Stored. Mode: test" in shown
    kept = json.loads((world.openwrt.root / "etc/stripe-payments/secrets.json").read_text())
    assert kept["secret_key"] == "sk_test_typedAtATerminal12345678"
    assert kept["webhook_secret"]  # an empty line leaves it


def _at_a_terminal(command: list[str], answers: list[tuple[str, str]]) -> tuple[str, int]:
    """Run a command on a terminal, answering each prompt; what the terminal showed, and the code."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        for prompt, answer in answers:
            while prompt.encode() not in shown or not shown.endswith(b": "):
                shown += os.read(ours, 4096)
            while termios.tcgetattr(ours)[3] & termios.ECHO:
                time.sleep(0.01)
            os.write(ours, f"{answer}\n".encode())
            shown += os.read(ours, 4096)
        with contextlib.suppress(OSError):  # the terminal's end
            while more := os.read(ours, 4096):
                shown += more
        os.close(ours)
    return shown.decode(), process.returncode


async def test_sync_says_what_changed_in_words(world: OpenWrtWorld) -> None:
    done = await asyncio.to_thread(world.openwrt.run, INIT, "sync")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Nothing has changed.\n"
    world.openwrt.sh("uci set stripe-payments.main.locale=it; uci commit stripe-payments")
    assert (await asyncio.to_thread(world.openwrt.run, INIT, "sync")).stdout == "Nessun cambiamento.\n"


async def test_check_prints_a_line_for_each_finding(world: OpenWrtWorld) -> None:
    answer = await world.bus.call(SERVICE, "check", {"locale": "en"})
    assert isinstance(answer["checks"], list)
    done = await asyncio.to_thread(world.openwrt.run, INIT, "check")
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(answer["checks"]), done.stdout + done.stderr
    assert all(re.fullmatch(r"\[(ok|--| !|!!)\] [\w.-]+: .+", line) for line in lines)
    assert done.returncode == int(any(line.startswith("[!!]") for line in lines)), done.stdout


async def test_commands_say_so_when_the_daemon_is_away(world: OpenWrtWorld) -> None:
    await ServiceOfProcd(world.openwrt).stop()
    await until(world, lambda: world.openwrt.pid_of(SERVICE, "daemon") is None, "it has stopped")
    for command in ("check", "sync", "set_keys"):
        done = world.openwrt.run(INIT, command, text="sk_test_abcdefgh12345678\n")
        assert done.returncode == 2, command
        assert "logread" in done.stderr


async def test_other_packages_ask_with_a_line_of_shell(world: OpenWrtWorld) -> None:
    await world.bus.call(
        "stripe-payments.uci",
        "store",
        {
            "features": {
                "remote_backup_daily": {"unlocked": True, "source": "cs_test_1"},
                "monitoring_24_7": {"unlocked": False},
            }
        },
    )
    library = ". /usr/share/stripe-payments/features.sh; "
    for feature, code in (
        ("remote_backup_daily", 0),
        ("monitoring_24_7", 1),
        ("nobody_sells_it", 1),
        ("a.b", 1),
        ("", 1),
    ):
        assert world.openwrt.run("sh", "-c", f"{library} feature_unlocked '{feature}'").returncode == code, (
            feature
        )
    assert world.openwrt.sh(f"{library} feature_option remote_backup_daily source") == "cs_test_1\n"


async def test_a_network_or_a_clock_that_comes_up_has_it_ask_stripe(world: OpenWrtWorld) -> None:
    network = world.openwrt.root / "lib/functions/network.sh"
    network.parent.mkdir(parents=True, exist_ok=True)
    network.write_text('network_find_wan() { eval "$1=wan"; }\n')
    reported = 'msg="poll scheduled"'
    for subsystem, variables in (("iface", ["ACTION=ifup", "INTERFACE=wan"]), ("ntp", ["ACTION=step"])):
        before = world.openwrt.log().count(reported)
        world.openwrt.sh(f"ubus call hotplug.{subsystem} call '{json.dumps({'env': variables})}'")

        async def heard(before: int = before) -> bool:
            return world.openwrt.log().count(reported) > before

        await world.wait_until(heard)


async def test_scripts_of_one_feature_do_not_overtake_each_other(world: OpenWrtWorld) -> None:
    """A script that takes two seconds for an unlock ends before the lock that follows at once."""
    script = world.openwrt.root / "etc/hotplug.d/stripe-payments/60-slow"
    script.write_text('[ "$ACTION" = lock ] || sleep 2\necho "$ACTION" >>/tmp/ended\n')
    feature: dict[str, Value] = {"feature": "phone_support"}
    await world.bus.call(SERVICE, "grant", feature)
    await until(world, lambda: "unlock phone_support" in world.openwrt.log(), "the scripts run")
    await world.bus.call(SERVICE, "revoke", feature)
    ended = world.openwrt.root / "tmp/ended"
    await until(world, lambda: ended.exists() and "\nlock" in ended.read_text(), "the lock has ended")
    assert ended.read_text() == "unlock\nlock\n"


async def test_the_documented_script_ends_with_the_last_state_and_copies_of_it_run_too(
    world: OpenWrtWorld,
) -> None:
    """tests/docs/test_hotplug_example.py with procd and the router's shell; the first change ends last."""
    openwrt, ended = world.openwrt, world.openwrt.root / "tmp/service"
    await world.daemon.stop()  # it would repair the state that is changed here
    script = example_script("integrating.md")
    for name in ("50-x", "50-x~", "50-x.apk-new"):
        (openwrt.root / "etc/hotplug.d/stripe-payments" / name).write_text(script)
    late = '[ -z "$LATE" ] || until [ -e /tmp/go ]; do sleep 0.05; done\n'
    (openwrt.root / "etc/hotplug.d/stripe-payments/40-late").write_text(late)
    service = openwrt.root / "etc/init.d/my-service"
    service.write_text(
        '#!/bin/sh\nfor word in begin end; do echo "$word $1" >>/tmp/service; sleep 0.05; done\n'
    )
    service.chmod(0o755)
    openwrt.sh("uci set stripe-features.my_feature=feature")
    for unlocked, variables in ((1, ["ACTION=unlock", "LATE=1"]), (0, ["ACTION=lock"])):
        call = {"env": [*variables, "FEATURE=my_feature"]}
        openwrt.sh(
            f"uci set stripe-features.my_feature.unlocked={unlocked}; uci commit stripe-features; "
            f"ubus call hotplug.stripe-payments call '{json.dumps(call)}'"
        )
    await until(world, lambda: ended.exists() and ended.read_text().count("end") == 3, "the lock has run")
    openwrt.sh("touch /tmp/go")
    await until(world, lambda: ended.read_text().count("end") == 6, "the unlock has run")
    assert ended.read_text() == "begin stop\nend stop\n" * 6


async def test_a_silent_stripe_is_named_before_the_bus_gives_up(world: OpenWrtWorld) -> None:
    """A second click meets the key of the first one, which Stripe still works on."""
    await world.control(
        "faults", {"latency_ms": 60_000, "count": 1, "method": "POST", "path": "/v1/checkout/sessions"}
    )
    for _ in range(2):
        with pytest.raises(StatusError) as refused:
            await world.bus.call(
                SERVICE, "create_checkout_session", {"price_id": "price_premium_onetime"}, timeout=30
            )
        assert refused.value.data["error"]["code"] == "stripe_unreachable"  # type: ignore[index]
    await ServiceOfProcd(world.openwrt).stop()
    assert "never retrieved" not in world.openwrt.log()
    world.stripe.set_faults()


async def test_the_log_is_readable_and_each_line_is_one_message(world: OpenWrtWorld) -> None:
    lines = [line for line in world.openwrt.log().splitlines() if "level=" in line]
    assert lines
    assert all(re.search(r"level=\w+ part=\w+ msg=", line) for line in lines)
    assert all(("daemon.err" in line) == ("level=info" not in line) for line in lines)


def test_logd_keeps_the_first_1024_bytes_of_a_line(openwrt: OpenWrt) -> None:
    """As the simulator's log does; an entry of the daemon fits (log.py)."""
    openwrt.sh("logger -t probe $(printf %03000d 7)")
    openwrt.wait_until(lambda: "probe: 0" in openwrt.log(), "the line is logged")
    (line,) = (one for one in openwrt.log().splitlines() if "probe: 0" in one)
    assert 900 < len(line.partition("probe: ")[2]) < LOGD_BYTES


def test_every_shipped_script_is_valid_for_the_routers_shell(staging: Path, tmp_path: Path) -> None:
    del staging
    install_payments(tmp_path)
    scripts = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and (path.suffix == ".sh" or path.read_bytes().startswith(b"#!/bin/sh"))
    ]
    assert len(scripts) >= 7
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox")
    for script in scripts:
        done = subprocess.run(
            [busybox, "ash", "-n", str(script)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}: {done.stderr}"
