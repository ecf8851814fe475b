"""Files of the daemon's that the flash gives back otherwise than they were written."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from campaigns.faults.disturbance import Disturbance
from campaigns.faults.router_under_test import RefusedError, RouterUnderTest

__all__ = ["FOUND_AT_START", "FOUND_WHILE_RUNNING", "IDENTITY"]

Damage = Callable[[Path, Random], None]
PAGE = 4096


def _overwrite(file: Path, offset: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(content)


def _pages(file: Path, chance: Random, share: float, *, first: int = 0) -> None:
    """Random bytes in the place of some of the pages, of one at least."""
    number = file.stat().st_size // PAGE
    pages = range(min(first, number - 1), number)
    for page in chance.sample(pages, max(1, int(len(pages) * share))):
        _overwrite(file, page * PAGE, chance.randbytes(PAGE))


def a_page(file: Path, chance: Random) -> None:
    """Four of SQLite's pages, which is one of the flash's."""
    _pages(file, chance, 0)


def half_of_the_pages(file: Path, chance: Random) -> None:
    _pages(file, chance, 0.5)


def the_header(file: Path, chance: Random) -> None:
    _overwrite(file, 0, chance.randbytes(100))


def a_few_bytes(file: Path, chance: Random) -> None:
    _overwrite(file, chance.randrange(file.stat().st_size - 64), chance.randbytes(64))


def cut_short(file: Path, chance: Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: chance.randrange(len(content))])


def emptied(file: Path, chance: Random) -> None:
    del chance
    file.write_bytes(b"")


def zeroed(file: Path, chance: Random) -> None:
    del chance
    file.write_bytes(bytes(file.stat().st_size))


def gone(file: Path, chance: Random) -> None:
    del chance
    file.unlink()


@dataclass
class FileDamage(Disturbance):
    """The daemon is killed, its file `file` damaged, and it is started again.

    `unnoticeable`: no look at the files can find it out, only one at Stripe. That comes by itself within
    poll_interval, or when the WAN comes up; here it comes at once.
    """

    name: str
    file: str
    damage: Damage
    unnoticeable: bool = False
    hold_s: float = 0.0
    damages: ClassVar[bool] = True

    async def begin(self, router: RouterUnderTest) -> None:
        def strike() -> None:
            with suppress(OSError, ValueError):  # the log may be empty, or not there
                self.damage(router.state / self.file, router.chance)

        await router.kill_daemon(strike)

    async def end(self, router: RouterUnderTest) -> None:
        if self.unnoticeable:
            await router.insist("sync")


@dataclass
class DamageUnderTheDaemon(FileDamage):
    """The file changes under the running daemon, which finds out when it reads there, or at its next start.

    Request the complete history, so that the daemon reads it.
    """

    wants_history: ClassVar[bool] = True

    async def begin(self, router: RouterUnderTest) -> None:
        with suppress(OSError, ValueError):
            self.damage(router.state / self.file, router.chance)
        before: dict[str, str] = {}
        with suppress(RefusedError):
            while (page := await router.call("transactions", limit=100, **before))["next"]:
                before = {"before": page["next"]}


LEDGER, LOG = "ledger.db", "ledger.db-wal"
_OF_THE_LEDGER = (a_page, half_of_the_pages, the_header, a_few_bytes, cut_short, emptied, zeroed, gone)
_OF_THE_LOG = (a_page, the_header, a_few_bytes, cut_short, emptied, zeroed, gone)


_UNNOTICEABLE = {(LEDGER, a_few_bytes), (LOG, cut_short), (LOG, emptied), (LOG, gone)}


def _named(damage: Damage) -> str:
    return damage.__name__.replace("_", " ")


FOUND_AT_START = tuple(
    FileDamage(f"{what}: {_named(damage)}", file, damage, (file, damage) in _UNNOTICEABLE)
    for what, file, damages in (("ledger", LEDGER, _OF_THE_LEDGER), ("log", LOG, _OF_THE_LOG))
    for damage in damages
)
FOUND_WHILE_RUNNING = (
    *(
        DamageUnderTheDaemon(f"ledger: {_named(damage)}", LEDGER, damage, damage is a_few_bytes)
        for damage in (a_page, half_of_the_pages, the_header, a_few_bytes, zeroed)
    ),
    *(DamageUnderTheDaemon(f"log: {_named(damage)}", LOG, damage) for damage in (a_page, the_header, zeroed)),
)
IDENTITY = tuple(
    FileDamage(f"identity: {_named(damage)}", "identity.json", damage)
    for damage in (a_few_bytes, cut_short, emptied, zeroed, gone)
)
