"""Routers are found by a part of what they are called, without reading all of them."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_INDEXES = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX routers_text ON routers USING gin (lower(id || ' ' || account || ' ' || board) gin_trgm_ops);
CREATE INDEX accounts_customer_text ON accounts USING gin (lower(customer) gin_trgm_ops);
CREATE INDEX routers_prepared ON routers (enrolled_at DESC, id) WHERE status = 'prepared';
CREATE INDEX enrollment_codes_note_text ON enrollment_codes USING gin (lower(note) gin_trgm_ops);
"""


def upgrade() -> None:
    op.execute(_INDEXES)
