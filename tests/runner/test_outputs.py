"""What kernels show, as the event log keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernel_gateway.runner.outputs import Outputs
from kernel_gateway.store.blobs import BlobStore
from kernel_gateway.store.eventlog import EventLog, read_events


@pytest.mark.parametrize("length", [1, 50_000])
def test_a_displayed_number_of_more_than_64_bits_ends_no_run(tmp_path: Path, length: int) -> None:
    log, blobs = EventLog(tmp_path / "events.jsonl"), BlobStore(tmp_path / "blobs")

    Outputs(log, blobs).display({"application/json": [2**70] + [0] * length}, 0)
    log.close()

    (event,) = read_events(log.path)
    blob = event["blobs"].get("application/json")
    shown = event["data"].get("application/json") or json.loads(blobs.get(blob["sha256"]))
    assert shown[0] == 2**70
    assert (blob is None) == (length == 1)
