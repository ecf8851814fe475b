"""The vendor may request that routers exchange their credentials."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMN = """
ALTER TABLE routers ADD COLUMN rotation_requested timestamptz;
COMMENT ON COLUMN routers.rotation_requested IS
    'A credential that was created before has to be exchanged; null: none has to.';
"""


def upgrade() -> None:
    op.execute(_COLUMN)
