"""What a run without a gateway gets of this machine: GPUs that no other run has, and how its kernels are told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import click

from ..errors import ResourceError
from ..events import Status
from ..kernels.resources import (
    Gpus,
    check_cpus_and_memory,
    check_gpus,
    check_label,
    find_gpus,
    gpu_environment,
    machine_cpus,
    machine_memory,
    seems_to_have_gpus,
    thread_environment,
)
from ..runner.ending import Cancellation
from ..settings import RunOptions, Settings

LOOK_SECONDS = 0.2
"""How often a run that waits for GPUs looks whether they are free."""


class MachineShare:
    """One run's part of this machine. Use: `take`, read `environ`, at the end `give_back`."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self._give_back: Callable[[], None] = lambda: None

    def take(self, options: RunOptions, settings: Settings, cancel: Cancellation) -> list[str]:
        """Get what a run asks for; returns its GPUs, and sets ``environ``: what tells kernels of it.

        Waits for GPUs that other runs have, until a cancel at most; nothing is held then. Raises `ResourceError` for
        what this machine does not have at all, and when the run's time is over.
        """
        check_label(options.label, settings.labels)
        if options.cpus is not None or options.memory is not None:
            check_cpus_and_memory(options.cpus, options.memory, machine_cpus(), machine_memory())
        gpus = self._take_gpus(options, cancel) if options.gpus else []
        if not gpus and not options.gpus and "CUDA_VISIBLE_DEVICES" not in os.environ and seems_to_have_gpus():
            click.echo("kernel-gateway: the run asks for no GPU and sees none; --gpus N gives it some.", err=True)
        self.environ = {**gpu_environment(gpus), **thread_environment(options.cpus, os.environ)}
        return gpus

    def _take_gpus(self, options: RunOptions, cancel: Cancellation) -> list[str]:
        from ..kernels.gpu_locks import GpuLocks

        found = find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
        check_gpus(options.gpus, found)
        locks = GpuLocks()
        self._give_back = locks.release
        deadline = time.monotonic() + options.timeout if options.timeout is not None else None
        told = False
        while not (taken := locks.take(options.gpus, found.names)) and not cancel.count:
            if deadline is not None and time.monotonic() > deadline:
                raise _too_late(options, found)
            if not told:
                told = True
                click.echo(f"kernel-gateway: waiting for {_taken(found)}", err=True)
            time.sleep(LOOK_SECONDS)
        return taken

    def give_back(self) -> None:
        """Let others have the GPUs. The system does that too when this process ends, in whatever way."""
        self._give_back()


def _too_late(options: RunOptions, found: Gpus) -> ResourceError:
    error = ResourceError(
        f"The run exceeded its limit of {options.timeout:g} s while it waited for {_taken(found)}", field="gpus"
    )
    error.status, error.exit_code = Status.TIMED_OUT, 4
    return error


def _taken(found: Gpus) -> str:
    from ..kernels.gpu_locks import holders

    return f"GPUs that others have: {', '.join(holders(found.names)) or 'none any more'}."
