"""Open Checkouts are found without reading those of years."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INDEX = "CREATE INDEX checkouts_open ON checkouts (created_at) WHERE state = 'open'"


def upgrade() -> None:
    op.execute(_INDEX)
