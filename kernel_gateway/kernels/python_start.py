"""Starts a kernel that is a Python program so that it publishes without loss and at once, and crashes with a word.

A ZMQ publisher drops what exceeds its send high-water mark, 1000 messages by default, without a word: a
kernel that prints faster than its I/O thread writes loses lines whatever its client does. So the first
publishing socket of the process gets no mark; later ones are the user's and stay as they are.

`specs.lossless` puts this script between the interpreter and the kernel's module or script; `forkserver` uses its
functions. It runs in the kernel's own environment and must need nothing but pyzmq there.
"""

import atexit
import faulthandler
import os
import runpy
import sys
import threading
from collections.abc import Callable

FLUSH_SECONDS = 0.02
"""How long ipykernel may hold text back that nobody flushes; by itself it takes 0.2 s."""

PIECE = 1 << 18
"""Characters of one message at most. ipykernel makes one message of whatever a cell prints in a go, and everybody
who handles it has to hold all of it at once."""


def lift_high_water_mark() -> None:
    """Make the next PUB or XPUB socket of this process one without a limit. Nothing happens without pyzmq."""
    try:
        import zmq
    except ImportError:
        return
    create = zmq.Context.socket

    def socket(self, socket_type, *args, **options):  # type: ignore[no-untyped-def]
        made = create(self, socket_type, *args, **options)
        if socket_type in (zmq.PUB, zmq.XPUB):
            made.setsockopt(zmq.SNDHWM, 0)
            setattr(zmq.Context, "socket", create)  # noqa: B010
        return made

    setattr(zmq.Context, "socket", socket)  # noqa: B010 — the type checker minds an assignment


def report_crashes() -> None:
    """Have a crash (SIGSEGV and the like) print where it happened.

    To a copy of stderr: ipykernel takes the original's place, and what it holds is lost in a crash.
    """
    faulthandler.enable(open(os.dup(2), "w", closefd=False))  # noqa: SIM115 — for the process' life


def quicken_streams() -> None:
    """Have ipykernel send text soon, and long text in pieces. Nothing happens where its streams are others."""
    try:
        from ipykernel.iostream import OutStream

        write = OutStream.write
        OutStream.flush_interval = FLUSH_SECONDS
    except (ImportError, AttributeError):
        return

    def write_in_pieces(self, string):  # type: ignore[no-untyped-def]
        if not isinstance(string, str) or len(string) <= PIECE:
            return write(self, string)
        for start in range(0, len(string), PIECE):
            write(self, string[start : start + PIECE])
            self.flush()
        return len(string)

    setattr(OutStream, "write", write_in_pieces)  # noqa: B010


def run_ipykernel(argv: list[str]) -> None:
    """Be ipykernel until it ends, as ``python -m ipykernel_launcher`` is; the process ends with it."""
    from ipykernel.kernelapp import IPKernelApp

    code: object = 1
    close: Callable[[], object] = flush_streams
    try:
        report_crashes()
        lift_high_water_mark()
        quicken_streams()
        sys.argv = ["ipykernel_launcher.py", *argv]
        app = IPKernelApp.instance()
        app.initialize(argv)
        # The last of all instead: a runner takes it for the kernel's end.
        for last in (app.close, app.iopub_thread.stop):
            atexit.unregister(last)
        close = app.close
        inline = sys.modules.get("matplotlib_inline.backend_inline")
        if inline is not None:  # imported before there was a kernel to integrate with
            inline._enable_matplotlib_integration()
        app.start()
        # Its control thread has yet to say that the request to shut down is done; `app.close` would take away
        # what it says that on, and wait for it without end.
        if app.control_thread is not None and app.control_thread.is_alive():
            app.control_thread.stop()
            app.control_thread.join(1.0)
        code = None
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 — as the interpreter does at the top
        sys.excepthook(*sys.exc_info())
    finally:
        leave(code if isinstance(code, int) else 0 if code is None else 1, close)


def flush_streams() -> None:
    """Send what exit handlers printed; ipykernel closes its streams without that."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def leave(code: int, close: Callable[[], object]) -> None:
    """End the process as the interpreter would, exit handlers and all, but without tidying up its memory.

    `close` is called behind the handlers, when nothing of the user's runs any more.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        flush_streams()
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        close()
    finally:
        os._exit(code)


def main() -> None:
    """Run ``-m MODULE ARGUMENTS`` or ``SCRIPT ARGUMENTS`` as the interpreter would."""
    del sys.path[0]  # this script's folder, where nothing of ours must be imported from
    if sys.argv[1:3] == ["-m", "ipykernel_launcher"]:
        run_ipykernel(sys.argv[3:])
    report_crashes()
    lift_high_water_mark()
    if sys.argv[1] == "-m":
        sys.path.insert(0, os.getcwd())
        module = sys.argv[2]
        sys.argv = sys.argv[2:]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = sys.argv[1:]
        sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
