"""The first schema."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OF_AN_ACCOUNT = ("meta", "objects", "checkouts", "grants", "history", "features", "outbox")

_TABLES = """
CREATE TABLE accounts (
    id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
    customer text UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    recompute_at bigint,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE accounts IS
    'What is owned: one for each customer at Stripe. `id` is the router_id in the metadata of its '
    'objects.';
COMMENT ON COLUMN accounts.version IS 'Raised by every transaction that changes what a router shows.';
COMMENT ON COLUMN accounts.recompute_at IS 'Epoch seconds of the next end of a period, trial or grace.';
CREATE INDEX accounts_recompute ON accounts (recompute_at) WHERE recompute_at IS NOT NULL;

CREATE TABLE routers (
    id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
    account text NOT NULL REFERENCES accounts (id),
    board text NOT NULL,
    software text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'replaced', 'revoked')),
    flags text[] NOT NULL DEFAULT '{}',
    enrolled_at timestamptz NOT NULL DEFAULT now(),
    last_contact timestamptz
);
CREATE INDEX routers_account ON routers (account);

CREATE TABLE assignments (
    router text NOT NULL REFERENCES routers (id),
    account text NOT NULL REFERENCES accounts (id),
    assigned_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (router, account, assigned_at)
);
COMMENT ON TABLE assignments IS 'Which router had an account from when to when.';

CREATE TABLE credentials (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    router text NOT NULL REFERENCES routers (id),
    status text NOT NULL CHECK (status IN ('active', 'next', 'retired', 'revoked')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE credentials IS
    'SHA-256 of each secret that a router made. `next`: not used yet; its first use retires the '
    'active one.';
CREATE INDEX credentials_router ON credentials (router);

CREATE TABLE enrollment_codes (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    router text REFERENCES routers (id),
    conflicts int NOT NULL DEFAULT 0
);
COMMENT ON COLUMN enrollment_codes.conflicts IS
    'How often a code that was used came again with another secret.';

CREATE TABLE recovery_codes (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    account text NOT NULL REFERENCES accounts (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz
);
CREATE INDEX recovery_codes_account ON recovery_codes (account);

CREATE TABLE catalogs (
    version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document text NOT NULL,
    prices jsonb NOT NULL DEFAULT '{}',
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE catalogs IS
    'The TOML files that were applied; `prices`: Stripe''s price ids by alias. The last one is in '
    'force.';

CREATE TABLE replies (
    router text NOT NULL REFERENCES routers (id),
    key text NOT NULL,
    request bytea NOT NULL,
    status int NOT NULL,
    body json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (router, key)
);
COMMENT ON TABLE replies IS
    'Replies to requests with an Idempotency-Key; `request`: SHA-256 of method and arguments.';

CREATE TABLE inbox (
    event_id text PRIMARY KEY,
    type text NOT NULL,
    object_id text NOT NULL,
    owner text,
    customer text,
    received_at timestamptz NOT NULL DEFAULT now(),
    attempts int NOT NULL DEFAULT 0,
    next_attempt timestamptz NOT NULL DEFAULT now(),
    outcome text,
    error text
);
COMMENT ON TABLE inbox IS
    'Webhook events: which object to fetch. `owner` and `customer` are what the payload says, only to '
    'find the account sooner.';
CREATE INDEX inbox_pending ON inbox (next_attempt, received_at) WHERE outcome IS NULL;
CREATE INDEX inbox_finished ON inbox (received_at) WHERE outcome IS NOT NULL;

CREATE TABLE cursors (name text PRIMARY KEY, value text NOT NULL);
COMMENT ON TABLE cursors IS 'How far the sweeps of the worker have come.';

CREATE TABLE meta (
    account text NOT NULL REFERENCES accounts (id),
    key text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE TABLE objects (
    account text NOT NULL REFERENCES accounts (id),
    id text NOT NULL,
    fetched_at bigint NOT NULL,
    packed bytea NOT NULL,
    PRIMARY KEY (account, id)
);
COMMENT ON TABLE objects IS
    'Stripe''s objects as fetched, with ids in place of what was expanded in them; compressed as in a '
    'router''s ledger.';
CREATE INDEX objects_id ON objects (id);
CREATE TABLE checkouts (
    local_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL REFERENCES accounts (id),
    idempotency_key text NOT NULL UNIQUE,
    price_alias text NOT NULL,
    price_id text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('payment', 'subscription')),
    success_url text NOT NULL,
    cancel_url text NOT NULL,
    locale text NOT NULL,
    created_at bigint NOT NULL,
    session_id text UNIQUE,
    url text,
    state text NOT NULL CHECK (state IN ('creating', 'open', 'complete', 'expired', 'failed')),
    expires_at bigint
);
CREATE INDEX checkouts_account ON checkouts (account);
CREATE TABLE grants (
    account text NOT NULL REFERENCES accounts (id),
    feature text NOT NULL,
    until bigint,
    note text NOT NULL,
    granted_at bigint,
    PRIMARY KEY (account, feature)
);
CREATE TABLE history (
    account text NOT NULL REFERENCES accounts (id),
    id text NOT NULL,
    date bigint NOT NULL,
    kind text NOT NULL,
    amount bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    description text NOT NULL,
    receipt_url text,
    invoice_pdf text,
    PRIMARY KEY (account, id)
);
COMMENT ON TABLE history IS 'Lines whose objects are no longer stored.';
CREATE TABLE features (
    account text NOT NULL REFERENCES accounts (id),
    feature text NOT NULL,
    unlocked boolean NOT NULL,
    source text NOT NULL,
    plan text NOT NULL,
    until bigint,
    reason text NOT NULL,
    PRIMARY KEY (account, feature)
);
CREATE TABLE outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL REFERENCES accounts (id),
    kind text NOT NULL,
    payload json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE outbox IS 'What changed for an account, in order.';
CREATE INDEX outbox_account ON outbox (account, number);
"""

_SECOND_LOCK = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY own_account ON {table}
    USING (current_setting('hub.account', true) IN (account, '*'))
    WITH CHECK (current_setting('hub.account', true) = account);
"""
"""The queries name the account themselves; this holds when one forgets to. Unset, nothing is visible. `*`
is for the worker's and the vendor's searches, and cannot write.
"""


def upgrade() -> None:
    op.execute(_TABLES)
    for table in _OF_AN_ACCOUNT:
        op.execute(_SECOND_LOCK.format(table=table))
