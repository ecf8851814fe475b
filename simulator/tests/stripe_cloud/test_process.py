"""`python -m simulator.stripe_cloud` as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp

REPOSITORY = Path(__file__).parents[3]


async def test_it_starts_serves_keeps_its_state_and_ends_on_a_signal(tmp_path: Path) -> None:
    state = tmp_path / "stripe.json"
    for round_number in (1, 2):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "simulator.stripe_cloud", "--port", "0", "--state", str(state)),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            url = line.decode().rsplit(maxsplit=1)[-1]
            headers = {"Authorization": "Bearer sk_test_process"}
            async with aiohttp.ClientSession(headers=headers) as http:
                async with http.post(f"{url}/v1/customers", data={"name": "A"}) as answer:
                    assert answer.status == 200
                async with http.get(f"{url}/v1/customers") as answer:
                    assert len((await answer.json())["data"]) == round_number
        finally:
            process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
