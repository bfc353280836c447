"""The results of a run whose events came from a runner on another machine, computed where they are served."""

from __future__ import annotations

import os
import sys

from ..errors import GatewayError
from ..settings import Settings
from ..store.blobs import BlobStore
from ..store.folder import RunFolder
from .layout import DataFolder


def write_results(data: DataFolder, run: str) -> int:
    """Compute them from the run's event log; returns the exit code. What goes wrong stands in the run's own log."""
    try:
        folder = RunFolder(data.run(run), Settings.from_environ(os.environ), shared=BlobStore(data.blobs))
        try:
            folder.log.close()
            folder.write_results()
        finally:
            folder.release()
    except (GatewayError, OSError) as error:
        print(f"The results of run {run} can't be written: {error}", file=sys.stderr)
        return 1
    return 0
