"""Who may look past row-level security: not what routers or Stripe reach."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OF_AN_ACCOUNT = ("meta", "objects", "checkouts", "grants", "history", "features", "outbox")

_POLICY = """
ALTER POLICY own_account ON {table} USING (
    current_setting('hub.account', true) = account
    OR (current_setting('hub.account', true) = '*' AND current_user NOT IN ('hub_routers', 'hub_webhook'))
)
"""


def upgrade() -> None:
    for table in _OF_AN_ACCOUNT:
        op.execute(_POLICY.format(table=table))
