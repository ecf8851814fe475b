"""Rights on the bus, the comparison of signatures, and properties that hold for all input."""

from campaigns.attack import bus_rights, properties, timing
from campaigns.attack.conftest import Short


async def test_rights_on_the_bus(short: Short) -> None:
    await short(bus_rights.bus_rights, 1)


async def test_how_signatures_are_compared(short: Short) -> None:
    await short(timing.timing, 1)


async def test_properties(short: Short) -> None:
    await short(properties.properties, 25)
