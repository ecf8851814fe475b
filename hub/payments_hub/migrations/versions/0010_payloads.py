"""What events say of an object, to be applied without fetching it, and as of when an object is stored."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COLUMNS = """
ALTER TABLE inbox ADD COLUMN created bigint, ADD COLUMN api_version text, ADD COLUMN payload text;
COMMENT ON COLUMN inbox.created IS 'Epoch seconds at which Stripe made the event: its payload is as of then.';
COMMENT ON COLUMN inbox.payload IS
    'The JSON text of the object in the event, while the event waits; null where it has to be fetched.';
ALTER TABLE objects ADD COLUMN as_of bigint;
COMMENT ON COLUMN objects.as_of IS
    'Epoch seconds: no later change at Stripe is in it. Null where that is not known.';
DO $$ BEGIN
    ALTER TABLE inbox ALTER COLUMN payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR syntax_error THEN
    NULL;  -- a PostgreSQL without it compresses with its own method
END $$;
"""


def upgrade() -> None:
    op.execute(_COLUMNS)
