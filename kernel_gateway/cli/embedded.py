"""A run on this machine, without any server: the runner in this process, its results in a folder."""

from __future__ import annotations

import os
import platform
import secrets as random
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import GatewayError, SourceError, StorageError
from ..kernels import guard
from ..kernels.specs import Kernelspecs
from ..runner.ending import Cancellation
from ..runner.entering import RUN_VARIABLE
from ..runner.run import Outcome, Runner, Workplace
from ..settings import PREFIX, RunOptions, Settings
from ..sources import LANGUAGE_BY_SUFFIX, load_source, peek_kernel, peek_packages
from ..sources.program import Program
from ..store.baseline import Baseline
from ..store.folder import RunFolder
from .machine import MachineShare
from .printer import ConsolePrinter, print_text
from .source_run import SourceRun
from .summary import summary

if TYPE_CHECKING:
    from ..tracking.client import Tracking

JENKINS_MARKS = ("JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE")
"""Variables by which Jenkins finds a build's processes to kill them; a guard does that better."""


def new_run_id() -> str:
    """An id that sorts by time: ``20261121-073012-9f3a1c2b``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{random.token_hex(4)}"


class EmbeddedRun(SourceRun):
    """One `kernel-gateway run` without a gateway."""

    def __init__(
        self,
        content: bytes,
        path: Path | None,
        options: RunOptions,
        settings: Settings,
        output_dir: Path,
        cancel: Cancellation,
        inputs: tuple[str, ...] = (),
    ) -> None:
        """``inputs``: globs of files whose digests are to be noted; the others as for every run."""
        super().__init__(content, path, options, settings, output_dir, cancel)
        self._globs = inputs
        self._inputs: list[dict[str, Any]] = []
        self._id = new_run_id()
        self._specs = Kernelspecs()
        self._cwd = path.absolute().parent if path is not None else Path.cwd()
        self._suffix = path.suffix if path is not None else ""
        self._tracking: Tracking | None = None
        self._history: list[dict[str, Any]] = []
        self._share = MachineShare()

    def run(self) -> int:
        """Run to the end; everything that was started is gone when this returns."""
        self._inputs = self._noted_inputs()
        named = self._start_tracking()
        strangers = frozenset(guard.children(os.getpid()))
        # Whatever a killed guard leaves behind becomes our child, so that it can be swept up.
        guard.become_subreaper()
        baseline = named or self._previous_results()
        self._history = self._previous_history()
        folder = RunFolder(self._output_dir, self._settings)
        try:
            (folder.path / "mlflow.json").unlink(missing_ok=True)  # an earlier run's
            if self._tracking is not None:
                self._tracking.begin()
            printer = ConsolePrinter(folder.log, self._settings)
            outcome = self._execute(folder, baseline)
            guard.sweep(0.0, spare=strangers)
            try:
                with closing(folder.log):
                    folder.log.restore()
                folder.write_results()
            except StorageError as error:
                click.echo(f"kernel-gateway: {error}", err=True)
            printer.join(self._cancel)
            self._print_summary(folder)
            self._end_tracking(folder)
        finally:
            folder.release()
            self._share.give_back()
            if self._tracking is not None:
                self._tracking.client.close()
        return outcome.exit_code

    def _noted_inputs(self) -> list[dict[str, Any]]:
        """Path, digest and size of the files that `--input` names. Raises `UsageError` when a glob matches none."""
        if not self._globs:
            return []
        from ..client.workspace import find_files, hash_files

        here = Path.cwd().resolve()
        files = hash_files(find_files(here, self._globs, cwd=here).files)
        return [{"path": file.path, "sha256": file.sha256, "size": file.size} for file in files]

    def _start_tracking(self) -> Baseline | None:
        """Start a tracker if the run is to go to MLflow, and read the baseline that the user names, if it is a file."""
        options = self._options
        if not (options.mlflow or self._settings.mlflow or options.baseline or options.register or options.promote):
            return None
        from . import tracker

        self._options = options = tracker.check(options, self._settings)
        named = tracker.named_baseline(options)
        if options.mlflow:
            folder = self._output_dir.absolute()
            self._tracking = tracker.start(options, self._settings, self._environ(), self._id, folder)
        return named

    def _end_tracking(self, folder: RunFolder) -> None:
        if self._tracking is not None:
            from .tracker import send_rest

            send_rest(self._tracking, folder.path, self._settings, self._cancel)

    def _execute(self, folder: RunFolder, baseline: Baseline | None) -> Outcome:
        place = Workplace(
            cwd=self._cwd,
            environ=self._environ(),
            artifacts=folder.artifacts,
            results=folder.path,
            agent=platform.node(),
            tracking=self._tracking,
        )
        problem = self._prepare(place)
        runner = Runner(
            self._options,
            place,
            sink=folder.log,
            blobs=folder.blobs,
            cancel=self._cancel,
            settings=self._settings,
            specs=self._specs,
        )
        try:
            # With packages of its own the kernel runs in an interpreter that is yet to come.
            early = problem is None and self._options.env_file is None
            if early and (self._options.kernel or not peek_packages(self._content)):
                runner.prelaunch(self._guess_kernel())
            program, unreadable = self._load()
            return runner.run(
                program,
                {"run": self._id, **self._provenance(baseline)},
                baseline.metrics if baseline else None,
                problem or unreadable,
            )
        finally:
            runner.close()

    def _environ(self) -> dict[str, str]:
        # Without Jenkins' marks Jenkins kills only this command, which then ends its kernels in good order.
        environ = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, *JENKINS_MARKS))}
        return {**environ, **self._options.secrets, RUN_VARIABLE: self._id}

    def _prepare(self, place: Workplace) -> GatewayError | None:
        """Get what the run asks of this machine; the error if it can't be had."""
        try:
            place.gpus = self._share.take(self._options, self._settings, self._cancel)
        except GatewayError as error:
            return error
        place.environ = {**place.environ, **self._share.environ}
        return None

    def _guess_kernel(self) -> str:
        """The kernel that the run will most probably use, from a glance at the source."""
        if self._options.kernel:
            return self._options.kernel
        return peek_kernel(self._content) or LANGUAGE_BY_SUFFIX.get(self._suffix, "python3")

    def _load(self) -> tuple[Program, GatewayError | None]:
        """The program; if the source can't be read as one, an empty program and the error."""
        path = str(self._path) if self._path is not None else None
        try:
            return (
                load_source(
                    self._content,
                    name=self._options.name,
                    path=path,
                    suffix=self._suffix,
                    kernel=self._options.kernel,
                ),
                None,
            )
        except SourceError as error:
            return self._without_cells("unreadable"), error

    def _provenance(self, baseline: Baseline | None) -> dict[str, Any]:
        return {
            **self._origin(self._cwd),
            **({"inputs": self._inputs} if self._inputs else {}),
            "baseline": baseline.to_dict() if baseline else None,
            "history": self._history,
            "command": "run",
        }

    def _print_summary(self, folder: RunFolder) -> None:
        try:
            print_text(summary(folder.path) + "\n")
        except OSError:
            pass  # nobody reads it any more
