"""The budget of requests to Stripe, shared by all instances."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLE = """
CREATE UNLOGGED TABLE stripe_budget (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    tokens double precision NOT NULL DEFAULT 0,
    counted_at timestamptz NOT NULL DEFAULT now(),
    slowed double precision NOT NULL DEFAULT 1,
    slow_until timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
COMMENT ON TABLE stripe_budget IS
    'One row: a token for each request to Stripe. Not logged: after a crash it is empty, and filled again '
    'by whoever wants a token first.';
COMMENT ON COLUMN stripe_budget.slowed IS
    'By what the refill is divided until `slow_until`, after a 429 of Stripe.';
"""


def upgrade() -> None:
    op.execute(_TABLE)
