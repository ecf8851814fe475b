"""The daemon as a process: what it leaves, what it logs, and whether it can be drowned."""

from campaigns.attack import floods, leakage, log_injection
from campaigns.attack.conftest import Short


async def test_no_secret_is_left_anywhere(short: Short) -> None:
    await short(leakage.leakage, 1)


async def test_the_log_is_the_daemons_own(short: Short) -> None:
    await short(log_injection.log_injection, 40)


async def test_floods(short: Short) -> None:
    await short(floods.floods, 70)
