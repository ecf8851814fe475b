"""Enrolments that are still allowed by address, counted by all instances together."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE enrollment_attempts (
    kind text NOT NULL CHECK (kind IN ('address')),
    bucket bytea NOT NULL,
    tokens double precision NOT NULL,
    counted_at timestamptz NOT NULL,
    PRIMARY KEY (kind, bucket)
);
COMMENT ON TABLE enrollment_attempts IS
    'Attempts left by address. `bucket`: the first bytes of a digest, too few to find out which one it was. '
    'A row is deleted after an hour.';
"""


def upgrade() -> None:
    op.execute(_TABLE)
