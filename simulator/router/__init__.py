"""Stand-ins for the programs around the daemon on a router: rpcd, its UCI plugins, and procd."""

from simulator.router.root_files import prepare_root
from simulator.router.router import Router

__all__ = ["Router", "prepare_root"]
