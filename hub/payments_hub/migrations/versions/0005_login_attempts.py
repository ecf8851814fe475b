"""Logins that may still fail, counted by all instances together."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE login_attempts (
    kind text NOT NULL CHECK (kind IN ('name', 'address')),
    bucket bytea NOT NULL,
    tokens double precision NOT NULL,
    counted_at timestamptz NOT NULL,
    PRIMARY KEY (kind, bucket)
);
COMMENT ON TABLE login_attempts IS
    'Attempts left by name and by address. `bucket`: the first bytes of a digest, too few to find out what '
    'was entered, which may be a password in the wrong field.';
"""


def upgrade() -> None:
    op.execute(_TABLE)
