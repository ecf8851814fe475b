"""A wire-compatible ubusd for development and tests: the same bytes, the same ACL files, no OpenWrt
needed."""

from simulator.ubus_broker.accounts import Accounts, Credentials, SystemAccounts
from simulator.ubus_broker.broker import UbusBroker

__all__ = ["Accounts", "Credentials", "SystemAccounts", "UbusBroker"]
