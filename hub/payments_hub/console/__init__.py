"""The console: pages for the vendor's operators, on a listener of their own, never on the routers'.

Server-rendered, without JavaScript: every action is a form. `app` routes, `visits` says who calls (sessions,
CSRF, roles), `actions` are the forms that change something, `pages` renders.
"""

from payments_hub.console.app import create_console

__all__ = ["create_console"]
