"""Where things lie in the service's data folder; the one place that spells these names."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import NotFoundError
from ..settings import Settings

_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Place:
    """Where a run's kernels live while it goes on: below the run's folder, or where they were kept warm."""

    folder: Path

    @property
    def work(self) -> Path:
        """The workspace."""
        return self.folder / "work"

    @property
    def temporary(self) -> Path:
        """For temporary files of this run alone."""
        return self.folder / "tmp"

    def make(self) -> None:
        """Create both. Raises OSError."""
        for folder in (self.folder, self.work, self.temporary):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove both, whatever is in them."""
        for folder in (self.work, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class DataFolder:
    """The data folder of a service. Nothing below it is readable by other users."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> DataFolder:
        """The folder that the settings name, else the user's data folder."""
        if settings.data:
            return cls(Path(settings.data).absolute())
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return cls(Path(base) / "kernel-gateway")

    def make(self) -> None:
        """Create what is missing. Raises OSError."""
        for folder in (self.root, self.root / "run", self.runs, self.blobs, self.warm):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)

    @property
    def database(self) -> str:
        """URL of the SQLite database that is used unless a setting names another."""
        return f"sqlite:///{self.root / 'gateway.db'}"

    @property
    def runs(self) -> Path:
        """Folder of the runs' folders."""
        return self.root / "runs"

    @property
    def blobs(self) -> Path:
        """Folder of the blobs that all runs share."""
        return self.root / "blobs"

    @property
    def wheels(self) -> Path:
        """Folder of wheels that the owner adds to the client's on ``/client/``; seldom there."""
        return self.root / "wheels"

    @property
    def warm(self) -> Path:
        """Folder of the places of kernels that were started before there was a run for them."""
        return self.root / "warm"

    def fork_socket(self, name: str) -> Path:
        """Socket of a fork server; of a `name` of up to ten characters no path is longer than the dispatcher's."""
        return self.root / "run" / f"{name}.sock"

    @property
    def wake_socket(self) -> Path:
        """Socket that wakes the dispatcher."""
        return self.root / "run" / "dispatcher.sock"

    @property
    def vault_socket(self) -> Path:
        """Socket of the vault."""
        return self.root / "run" / "vault.sock"

    @property
    def tracker_socket(self) -> Path:
        """Socket of the tracker, which talks to MLflow."""
        return self.root / "run" / "tracker.sock"

    @property
    def agent_state(self) -> Path:
        """What the dispatcher says of itself: slots, who runs where. Its age tells whether it lives."""
        return self.root / "run" / "agent.json"

    def warm_place(self, id: str) -> Place:
        """Place of a warm kernel."""
        return Place(self.warm / id)

    def run(self, id: str) -> Path:
        """Folder of a run. Raises `NotFoundError` for anything that is not a run's id: it becomes a path."""
        if not _RUN_ID.fullmatch(id):
            raise NotFoundError(f"There is no run {id!r}.")
        return self.runs / id
