"""What `kernel-gateway run` begins with, whether the run is on this machine or on a gateway."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runner.ending import Cancellation
from ..settings import RunOptions, Settings

if TYPE_CHECKING:
    from ..sources.program import Program
    from ..store.baseline import Baseline


class SourceRun:
    """One `kernel-gateway run`. `run` returns the exit code; it raises `GatewayError` only for what is found wrong
    before there is an output folder.
    """

    def __init__(
        self,
        content: bytes,
        path: Path | None,
        options: RunOptions,
        settings: Settings,
        output_dir: Path,
        cancel: Cancellation,
    ) -> None:
        """``content``: the source; ``path``: its file, None for a snippet or stdin."""
        self._content = content
        self._path = path
        self._options = options
        self._settings = settings
        self._output_dir = output_dir
        self._cancel = cancel

    def run(self) -> int:
        """Run the source to its end, and leave its results in the output folder."""
        raise NotImplementedError

    def _previous_results(self) -> Baseline | None:
        """What the last run with this output folder left for gates to compare with."""
        if not (self._output_dir / "run.json").exists():
            return None
        from ..store.baseline import previous_results

        return previous_results(self._output_dir)

    def _previous_history(self) -> list[dict[str, Any]]:
        """The last runs with this output folder, for the report's trend."""
        if not (self._output_dir / "run.json").exists():
            return []
        from ..store.baseline import previous_history

        return previous_history(self._output_dir)

    def _origin(self, folder: Path) -> dict[str, Any]:
        """Where the source comes from, as a run's provenance tells it: ``git`` and ``build``."""
        from ..runner.provenance import git_state, jenkins_build

        return {"git": git_state(folder), "build": jenkins_build(os.environ)}

    def _without_cells(self, format: str) -> Program:
        """What stands for the program in the log of a run whose source was not read."""
        import hashlib

        from ..sources.program import Program

        digest = f"sha256:{hashlib.sha256(self._content).hexdigest()}"
        path = str(self._path) if self._path is not None else None
        return Program(name=self._options.name, path=path, format=format, digest=digest, cells=[])
