"""What triggers need of Jenkins: whether a build with an id is there, starting one, when the last one succeeded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...errors import UnreachableError, UsageError
from ..connection import clear_errors

if TYPE_CHECKING:
    import jenkins

ID_PARAMETER = "TRIGGER_ID"
REASON_PARAMETER = "REASON"

LOOKED_THROUGH = 500
"""Builds, from the last one on, among which one is looked for."""

LONGEST_REASON = 2000
"""Characters of a reason, which people read in the build's description."""


class Builds:
    """Jenkins, through a connection of python-jenkins (`connection.connect`). Raises `GatewayError`."""

    def __init__(self, server: jenkins.Jenkins) -> None:
        self._server = server

    def check(self, job: str, parameters: Mapping[str, str]) -> list[str]:
        """Look at a job before it is started; returns what a person should know of it.

        Raises `UsageError` for a job that is not there, is disabled, lacks the parameter by which its builds are found
        again, or would not take a value.
        """
        info = self._job(job, "buildable,property[parameterDefinitions[name,choices]]")
        names = {
            definition["name"]: definition.get("choices")
            for part in info.get("property") or []
            for definition in part.get("parameterDefinitions") or []
        }
        if ID_PARAMETER not in names:
            raise UsageError(
                f"The job {job!r} has no parameter {ID_PARAMETER}, by which a build is found again. Add string "
                f"parameters {ID_PARAMETER} and {REASON_PARAMETER} to it; those of a Jenkinsfile "
                "are there after its first build.",
                field="job",
            )
        if not info.get("buildable", True):
            raise UsageError(f"The job {job!r} is disabled in Jenkins. Enable it, or remove the trigger.", field="job")
        for name, value in parameters.items():
            # Jenkins would answer 500, and say why in its own log only.
            if (choices := names.get(name)) and value not in choices:
                raise UsageError(
                    f"The parameter {name} of the job {job!r} does not take {value!r}; it takes "
                    f"{', '.join(map(repr, choices))}.",
                    field="parameters",
                )
        lost = [name for name in (REASON_PARAMETER, *parameters) if name not in names]
        return [f"The job {job!r} has no parameter {name}, so Jenkins drops it." for name in lost]

    def find(self, job: str, id: str) -> str | None:
        """URL of the build, or of the place in the queue, that carries an id; None if there is none."""
        # The queue first: what leaves it in between is among the builds by then.
        with _clear_answers():
            queue = self._server.get_queue_info()
        for item in queue:
            if _carries(item, id) or f"{ID_PARAMETER}={id}" in str(item.get("params")).split():
                return str(item.get("url") or "queue")
        fields = f"builds[number,url,actions[parameters[name,value]]]{{0,{LOOKED_THROUGH}}}"
        for build in self._job(job, fields).get("builds") or []:
            if _carries(build, id):
                return str(build["url"])
        return None

    def start(self, job: str, parameters: Mapping[str, str], id: str, reason: str) -> str:
        """Start a build; returns the URL of its place in the queue.

        Not by python-jenkins' `build_job`, which puts parameters into the URL: servers and proxies take some KiB of
        it, and keep it in their logs.
        """
        import requests

        form = {**parameters, ID_PARAMETER: id, REASON_PARAMETER: _fitting(reason)}
        with _clear_answers(), _job_there(job):
            url = f"{self._server.server}{_path(job)}buildWithParameters"
            answer = self._server.jenkins_request(requests.Request("POST", url, data=form))
        number = re.search(r"/queue/item/(\d+)/?$", answer.headers.get("Location", ""))
        if number is None:
            raise UnreachableError(
                f"Jenkins' answer to the start of {job!r} has no header Location with a place in the queue, so nobody "
                "knows whether the build was started. The next check looks for it."
            )
        return f"{self._server.server}queue/item/{number[1]}/"

    def last_success(self, job: str) -> float | None:
        """When the last build that was neither failed nor unstable began, in seconds since 1970."""
        build = self._job(job, "lastStableBuild[timestamp]").get("lastStableBuild")
        return build["timestamp"] / 1000 if build else None

    def _job(self, job: str, fields: str) -> dict[str, Any]:
        import json

        import requests

        url = f"{self._server.server}{_path(job)}api/json?tree={quote(fields, safe='[],{}')}"
        with _clear_answers(), _job_there(job):
            answer: dict[str, Any] = json.loads(self._server.jenkins_open(requests.Request("GET", url)))
        return answer


def _path(job: str) -> str:
    return "".join(f"job/{quote(part, safe='')}/" for part in job.split("/"))


@contextmanager
def _job_there(job: str) -> Iterator[None]:
    import jenkins

    try:
        yield
    except jenkins.NotFoundException:
        raise UsageError(f"Jenkins has no job {job!r}, or its user may not see it.", field="job") from None


@contextmanager
def _clear_answers() -> Iterator[None]:
    """Has what python-jenkins raises of its own, and an answer that is no JSON, leave as `UnreachableError`."""
    with clear_errors():
        try:
            yield
        except ValueError as error:
            raise UnreachableError(f"Jenkins' answer can't be read: {error}.") from error


def _fitting(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def _carries(entry: Mapping[str, Any], id: str) -> bool:
    return any(one.get("name") == ID_PARAMETER and one.get("value") == id for one in _parameters(entry))


def _parameters(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for action in entry.get("actions") or []:
        yield from (action or {}).get("parameters") or []
