"""ubus for asyncio, in pure Python."""
