"""uci on a full or read-only flash and in a full /tmp, as it really is: data is lost, the answer is OK."""

from __future__ import annotations

from simulator.tests.router.bus import Bus


async def test_a_commit_on_a_full_flash_leaves_an_empty_file_and_says_ok(bus: Bus) -> None:
    bus.write_config("network", "\nconfig interface 'lan'\n\toption proto 'static'\n\n")
    await bus.call("uci", "set", config="network", section="lan", values={"proto": "dhcp"})
    bus.router.store.free_flash = 0
    await bus.call("uci", "commit", config="network")
    assert bus.config("network") == ""


async def test_what_is_staged_in_a_full_tmp_is_lost_and_the_answers_say_ok(bus: Bus) -> None:
    text = "\nconfig interface 'lan'\n\toption proto 'static'\n\n"
    bus.write_config("network", text)
    bus.router.store.free_tmp = 0
    await bus.call("uci", "set", config="network", section="lan", values={"proto": "dhcp"})
    await bus.call("uci", "commit", config="network")
    assert bus.config("network") == text


async def test_a_commit_on_a_read_only_flash_says_ok_and_stays_staged(bus: Bus) -> None:
    text = "\nconfig interface 'lan'\n\toption proto 'static'\n\n"
    bus.write_config("network", text)
    await bus.call("uci", "set", config="network", section="lan", values={"proto": "dhcp"})
    bus.router.store.read_only_flash = True
    await bus.call("uci", "commit", config="network")
    assert bus.config("network") == text
    assert await bus.call("uci", "changes", config="network") == {
        "changes": [["set", "lan", "proto", "dhcp"]]
    }
