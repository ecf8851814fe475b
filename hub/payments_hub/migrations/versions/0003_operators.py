"""Operators of the console, the audit log, and routers that are prepared before they enrol."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE operators (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    role text NOT NULL CHECK (role IN ('support', 'admin')),
    password text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);
COMMENT ON COLUMN operators.password IS 'Argon2id, with its parameters.';

CREATE TABLE operator_sessions (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    operator text NOT NULL REFERENCES operators (name),
    begun_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX operator_sessions_operator ON operator_sessions (operator);
COMMENT ON TABLE operator_sessions IS 'SHA-256 of the cookie of each operator who is logged in.';

CREATE TABLE audit (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL DEFAULT '',
    detail jsonb NOT NULL DEFAULT '{}',
    begun bigint UNIQUE REFERENCES audit (number),
    outcome text
);
COMMENT ON TABLE audit IS
    'What operators did. A row without `outcome` is written before the action, one that names it in '
    '`begun` after it; an action without the second was interrupted.';

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

ALTER TABLE routers DROP CONSTRAINT routers_status_check;
ALTER TABLE routers ADD CONSTRAINT routers_status_check
    CHECK (status IN ('prepared', 'active', 'replaced', 'revoked'));
COMMENT ON COLUMN routers.status IS
    '`prepared`: waits for its enrolment code; has no credential yet.';
ALTER TABLE enrollment_codes ADD COLUMN prepared text REFERENCES routers (id);
CREATE INDEX enrollment_codes_router ON enrollment_codes (router) WHERE router IS NOT NULL;
CREATE INDEX routers_enrolled ON routers (enrolled_at DESC, id);
CREATE INDEX enrollment_codes_prepared ON enrollment_codes (prepared) WHERE prepared IS NOT NULL;
COMMENT ON COLUMN enrollment_codes.prepared IS
    'The router that the code is for: new, imported, or in place of another one of its account.';
"""


def upgrade() -> None:
    op.execute(_TABLES)
