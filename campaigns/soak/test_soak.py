"""The short form of `make soak`: three months of a household, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.soak.run import Soak

MIB = 2**20


@pytest.mark.timeout(480)
async def test_after_another_month_the_daemon_holds_what_it_held_before(tmp_path: Path) -> None:
    soaked = await Soak(tmp_path).run(lambda months, _: months >= 1, lambda months, _: months >= 3)
    warm, last = soaked.rests[soaked.warm_rests], soaked.rests[-1]
    assert (warm.month, last.month) == (2, 3)
    assert last.descriptors == warm.descriptors
    assert last.threads == warm.threads
    assert last.resident <= warm.resident + 6 * MIB
    assert last.resident <= 55 * MIB
    assert (last.checkouts, last.events, last.effects) == (0, 0, 0)

    done = soaked.done - soaked.done_when_warm
    assert done["purchases"] == 2
    assert done["disputes"] == done["plan changes"] == done["ubusd restarts"] == 1
    assert soaked.done["rpcd restarts"] == 1
    assert soaked.requests["LuCI requests"] > 20
    assert soaked.requests["wrong requests"] > 5
    assert soaked.drift == []

    # A write-ahead log of half a megabyte comes and goes; what was bought takes a few dozen kilobytes.
    assert soaked.ledger_bytes <= MIB
    assert soaked.tidied is not None
    assert soaked.tidied.events > 0
    assert soaked.tidied.size < soaked.ledger_bytes
