"""Starts a kernel that is a Python program so that it publishes without loss and crashes with a word.

A ZMQ publisher drops what exceeds its send high-water mark, 1000 messages by default, without a word: a
kernel that prints faster than its I/O thread writes loses lines whatever its client does. So the first
publishing socket of the process gets no mark; later ones are the user's and stay as they are.

`specs.lossless` puts this script between the interpreter and the kernel's module or script. It runs in
the kernel's own environment and must need nothing but pyzmq there.
"""

import faulthandler
import os
import runpy
import sys


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


def main() -> None:
    """Run ``-m MODULE ARGUMENTS`` or ``SCRIPT ARGUMENTS`` as the interpreter would."""
    report_crashes()
    lift_high_water_mark()
    if sys.argv[1] == "-m":
        sys.path[0] = os.getcwd()
        module = sys.argv[2]
        sys.argv = sys.argv[2:]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = sys.argv[1:]
        sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
