"""`check`: what may be wrong, each fault told apart from the others, with what to do about it.

`table` lists the checks; each is a function in the room of its subject and finds out one thing.
"""

from stripe_payments.diagnostics.checks import Diagnostics

__all__ = ["Diagnostics"]
