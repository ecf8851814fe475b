"""What `has` answers from memory is what the ledger holds, also after the ledger could not be read."""

import asyncio
import threading
from pathlib import Path

from stripe_payments.entitlements import Entitlement
from stripe_payments.feature_cache import FeatureCache
from stripe_payments.ledger import Ledger

BACKUP = Entitlement("remote_backup_daily", True, "cs_1", "router_os_premium", None, "paid")


async def test_a_ledger_that_could_not_be_read_is_read_again(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    told = asyncio.Event()
    features = FeatureCache(ledger, told.set)
    running = asyncio.create_task(features.run())
    await ledger.write(lambda tx: tx.features.replace({"remote_backup_daily": BACKUP}))

    # A flash that hangs, and as many callers behind it as the ledger lets wait: reading is refused for now.
    hangs = threading.Event()
    crowd = [asyncio.ensure_future(ledger.read(lambda tx: hangs.wait(30))) for _ in range(4096)]
    await asyncio.sleep(0)
    features.changed()
    await asyncio.sleep(0.05)
    assert not told.is_set()
    hangs.set()
    await asyncio.gather(*crowd)

    await asyncio.wait_for(told.wait(), 30)
    assert features.current == {"remote_backup_daily": BACKUP}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await ledger.close()
