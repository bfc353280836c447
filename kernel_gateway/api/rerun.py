"""A run once more: the request of an earlier one, submitted anew."""

from __future__ import annotations

import orjson
from pydantic import ValidationError

from ..errors import ConflictError, NotFoundError
from ..events import EventType
from ..store.eventlog import read_events
from ..store.requests import given_request
from ..store.runs import RunRecord
from .schemas import RunRequest
from .service import EVENTS, REQUEST, Gateway
from .submit import submit


def rerun(gateway: Gateway, id: str, *, token: str, key: str | None = None) -> tuple[RunRecord, bool]:
    """Queue the request of a run again, for `token`; the second value is as `submit` has it.

    All is as it was then (source, parameters, gates, workspace, git, and the baseline, whoever chose it) but for the
    build: none asks for it this time. A run that had no baseline is compared with the newest there is now.

    Raises `NotFoundError` if there is no such run, or its request is gone; `ConflictError` if it had secrets, for
    these are not kept; and what `submit` raises, e.g. for a kernel that is not installed any more.
    """
    folder = gateway.folder(id)
    try:
        request = RunRequest.model_validate(given_request(orjson.loads((folder / REQUEST).read_bytes())))
        names = _secret_names(gateway, id)
    except OSError:
        raise NotFoundError(f"The request of run {id} has been removed; submit the source anew.") from None
    except (ValidationError, ValueError):
        raise ConflictError(
            f"The request of run {id} is of a version of the gateway that this one can't read; submit the source anew."
        ) from None
    if names:
        raise ConflictError(
            f"Run {id} had the secret{'s' if names[1:] else ''} {', '.join(names)}, and the gateway keeps no secrets. "
            "Start it again from where it came, e.g. by building its Jenkins job once more."
        )
    return submit(gateway, request.model_copy(update={"build": None}), token=token, key=key, rerun_of=id)


def _secret_names(gateway: Gateway, id: str) -> list[str]:
    """The secrets that a run was submitted with, by its log's first event. Raises OSError without a log."""
    for event in read_events(gateway.folder(id) / EVENTS):
        if event["type"] == EventType.RUN_QUEUED:
            return [str(name) for name in event["provenance"].get("secrets") or []]
    raise FileNotFoundError(EVENTS)
