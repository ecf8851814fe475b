"""``python -m tools.ubus``: the ``ubus`` tool on :mod:`ubus_py`, with its output and its exit codes.

    list [PATTERN]                 the objects; with -v their methods
    call OBJECT METHOD [JSON]      call a method, print its answer
    listen [PATTERN...]            print events as they come
    send EVENT [JSON]              send an event
    subscribe OBJECT...            print objects' notifications as they come
    wait_for OBJECT...             return when all of them are on the bus

An answer goes to stdout, all else to stderr. Exit code 0; a refused call gives its status negated modulo
256 (252 not found, 254 invalid argument ...), with -S the status itself; anything else that ubusd refuses
gives its status; 254 wrong arguments, 255 no ubusd, 1 wrong options.
"""

from __future__ import annotations

import getopt
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ubus_py import (
    DEFAULT_SOCKET,
    CallTimeout,
    Connection,
    ConnectionLost,
    Encodable,
    Event,
    ProtocolError,
    Status,
    StatusError,
    Table,
    UsageError,
    status_text,
)

from .blobmsg_json import format_signature, format_table, parse_table
from .program import run

USAGE = """\
Usage: {program} [OPTIONS] COMMAND [ARGUMENTS]

Options:
 -s SOCKET   ubusd's socket ({socket})
 -t SECONDS  how long a command may take (call, wait_for: 30; listen, subscribe: no limit); 0: no limit
 -S          simplified output, for scripts: one line, no error messages
 -v          list methods and arguments too
 --help      print this

Commands:
 list [PATTERN]             list objects
 call OBJECT METHOD [JSON]  call a method
 listen [PATTERN...]        print events
 send EVENT [JSON]          send an event
 subscribe OBJECT...        print objects' notifications
 wait_for OBJECT...         wait until all of the objects are on the bus
"""

PROGRAM = "ubus-py" if __package__ == "ubus_py.tool" else "python -m tools.ubus"
"""Its name in the library's package, and in this repository."""

_WRONG_ARGUMENTS = -1000  # exits 254, like a call that was refused with "Invalid argument" (-2)
_FAILED = -1


@dataclass
class Options:
    """What the options say."""

    socket: str = DEFAULT_SOCKET
    timeout: float | None = 30.0
    listen_timeout: float | None = None
    simple: bool = False
    verbose: bool = False


Command: TypeAlias = "Callable[[Connection, Options, list[str]], Awaitable[int]]"


def write_out(text: str) -> None:
    """A line to stdout, at once. Text that was not UTF-8 leaves as the bytes that came."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # as in `listen | head -1`: the reader is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at exit
        raise SystemExit(141) from None


def write_error(text: str) -> None:
    """A line to stderr."""
    sys.stdout.flush()
    sys.stderr.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
    sys.stderr.buffer.flush()


def _status(error: Exception) -> int:
    """The number the ``ubus`` tool would see in place of this error."""
    if isinstance(error, StatusError):
        return error.code
    if isinstance(error, CallTimeout):
        return Status.TIMEOUT
    if isinstance(error, ConnectionLost):
        return Status.CONNECTION_FAILED
    return Status.INVALID_ARGUMENT if isinstance(error, UsageError) else Status.UNKNOWN_ERROR


async def _list(connection: Connection, options: Options, arguments: list[str]) -> int:
    if len(arguments) > 1:
        return _WRONG_ARGUMENTS
    for info in await connection.lookup_strictly(arguments[0] if arguments else None):
        if options.simple or not options.verbose:
            write_out(info.name)
            continue
        write_out(f"'{info.name}' @{info.id:08x}")
        for name, args in info.methods.items():
            write_out("\t" + format_signature(name, args))
    return 0


async def _call(connection: Connection, options: Options, arguments: list[str]) -> int:
    if not 2 <= len(arguments) <= 3:
        return _WRONG_ARGUMENTS
    data: Table = {}
    try:
        if len(arguments) == 3:
            data = parse_table(arguments[2])
    except UsageError:
        return _call_failed(options, arguments, Status.PARSE_ERROR)
    found = await connection.lookup_strictly(arguments[0])
    if not found:
        return _call_failed(options, arguments, Status.NOT_FOUND)
    try:
        answer = await connection.invoke(found[0].id, arguments[1], data, timeout=options.timeout)
    except (StatusError, CallTimeout, ConnectionLost, UsageError, ProtocolError) as error:
        if isinstance(error, StatusError) and error.data is not None:
            _print_answer(options, error.data)
        return _call_failed(options, arguments, _status(error))
    for table in answer:
        _print_answer(options, table)
    return 0


def _print_answer(options: Options, table: Mapping[str, Encodable]) -> None:
    write_out(format_table(table, indent=not options.simple))


def _call_failed(options: Options, arguments: Sequence[str], status: int) -> int:
    if options.simple or sys.stderr.isatty():
        return status
    write_error(f"Command failed: ubus call {' '.join(arguments)} ({status_text(status)})")
    return -status


def _print_event(event: Event) -> None:
    write_out(f'{{ "{event.name}": {format_table(event.data, indent=False)} }}')


async def _listen(connection: Connection, options: Options, arguments: list[str]) -> int:
    for pattern in arguments or ["*"]:
        try:
            await connection.listen(pattern, _print_event)
        except (StatusError, UsageError) as error:
            return _register_failed(options, pattern, error)
    await connection.wait_closed(options.listen_timeout)
    return 0


async def _subscribe(connection: Connection, options: Options, arguments: list[str]) -> int:
    if not arguments:
        if not options.simple:
            write_error("You need to specify an object to subscribe to")
        return _FAILED
    for name in arguments:
        try:
            await connection.subscribe(name, _print_event)
        except (StatusError, UsageError) as error:
            return _register_failed(options, arguments[0], error)
    await connection.wait_closed(options.listen_timeout)
    return 0


def _register_failed(options: Options, what: str, error: Exception) -> int:
    if not options.simple:
        write_error(f"Error while registering for event '{what}': {status_text(_status(error))}")
    return _FAILED


async def _send(connection: Connection, options: Options, arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2:
        return _WRONG_ARGUMENTS
    data: Table = {}
    try:
        if len(arguments) == 2:
            data = parse_table(arguments[1])
    except UsageError:
        return Status.PARSE_ERROR
    await connection.send(arguments[0], data)
    return 0


async def _wait_for(connection: Connection, options: Options, arguments: list[str]) -> int:
    if not arguments:
        return _WRONG_ARGUMENTS
    await connection.wait_for(*arguments, timeout=options.timeout)
    return 0


COMMANDS: dict[str, Command] = {
    "list": _list,
    "call": _call,
    "listen": _listen,
    "subscribe": _subscribe,
    "send": _send,
    "wait_for": _wait_for,
}


async def _main(options: Options, command: str, arguments: list[str]) -> int:
    try:
        connection = await Connection.open(options.socket)
    except ConnectionLost:
        if not options.simple:
            write_error("Failed to connect to ubus")
        return _FAILED
    try:
        verb = COMMANDS.get(command)
        return _WRONG_ARGUMENTS if verb is None else await verb(connection, options, arguments)
    except (StatusError, CallTimeout, ConnectionLost, UsageError, ProtocolError) as error:
        return _status(error)
    finally:
        await connection.close()


def _seconds(text: str) -> float | None:
    """As C's ``atoi``: what is no number is 0, and 0 is no limit; a time before now is up at once."""
    digits = re.match(r"\s*[+-]?\d+", text)
    return float(digits.group()) or None if digits else None


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run a command line; the exit code, 0 to 255."""
    options = Options()
    usage = USAGE.format(program=program, socket=DEFAULT_SOCKET)
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        found, rest = getopt.gnu_getopt(given, "s:t:Sv", ["help"])
    except getopt.GetoptError as error:
        write_error(f"{program}: {error}\n{usage}")
        return 1
    for option, value in found:
        if option == "-s":
            options.socket = value
        elif option == "-t":
            options.timeout = options.listen_timeout = _seconds(value)
        elif option == "-S":
            options.simple = True
        elif option == "--help":
            write_out(usage.rstrip("\n"))
            return 0
        else:
            options.verbose = True
    if not rest:
        write_error(usage)
        return 1
    try:
        code = run(_main(options, rest[0], rest[1:]))
    except KeyboardInterrupt:
        return 0  # how listening ends
    if code == _WRONG_ARGUMENTS:
        write_error(usage)
        return 254
    if code > 0 and not options.simple:
        write_error(f"Command failed: {status_text(code)}")
    return code % 256
