"""A program's event loop, and the signal that ends it."""

import subprocess
import sys
import textwrap

from tests.unit.ubus_tool.conftest import ENVIRONMENT

INTERRUPTED = textwrap.dedent(
    """
    import asyncio, ctypes, functools, operator, os, selectors, signal
    from tools.ubus.program import run

    kill = functools.partial(ctypes.CDLL(None).kill, os.getpid(), signal.SIGINT)

    class AboutToWait(selectors.EpollSelector):
        # The signal comes, and the wait begins, without a step of Python's in between.
        armed = False

        def select(self, timeout=None):
            if self.armed:
                self.armed = False
                list(map(operator.call, (kill, functools.partial(self._selector.poll, -1, 10))))
            return super().select(timeout)

    selector = AboutToWait()
    selectors.DefaultSelector = lambda: selector

    async def main():
        selector.armed = True
        try:
            await asyncio.Event().wait()
        finally:
            print("leaves in order", flush=True)

    try:
        run(main())
    except KeyboardInterrupt:
        print("interrupted")
    """
)


def test_an_interrupt_in_the_moment_before_the_loop_waits_is_heard() -> None:
    program = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert program.stdout.splitlines() == ["leaves in order", "interrupted"], program.stderr
    assert program.returncode == 0


def test_what_the_program_gives_and_raises_comes_out() -> None:
    code = (
        "from tools.ubus.program import run\n"
        "async def give(): return 7\n"
        "async def fail(): raise ZeroDivisionError\n"
        "assert run(give()) == 7\n"
        "try: run(fail())\n"
        "except ZeroDivisionError: raise SystemExit(3)\n"
    )
    program = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, timeout=60, check=False)
    assert program.returncode == 3
