"""python-jenkins' class with our errors: every answer of Jenkins passes here, and leaves as a sentence if it is bad."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import jenkins
import requests

from ..errors import AuthError, ForbiddenError, GatewayError, UnreachableError, UsageError

STALE_CRUMB = "No valid crumb"
"""What Jenkins says in a 403 for a POST without a crumb, or with one of a session that it has forgotten."""

ROOTS = ("hudson.model.Hudson", "jenkins.model.Jenkins")
"""Classes of what stands at the URL of a Jenkins, as its API names them."""

WORDS = 300
"""Characters of Jenkins' own words that an error repeats."""


class _StaleCrumbError(Exception):
    """The crumb is missing or of an earlier session."""


class Server(jenkins.Jenkins):  # type: ignore[misc]
    """One Jenkins. Only `connect` makes these."""

    def greet(self) -> None:
        """Ask for the version and the name. Raises what `connect` says."""
        try:
            answer = self.jenkins_request(
                requests.Request("GET", self.server + "api/json?tree=nodeName"), add_crumb=False
            )
        except jenkins.NotFoundException:
            raise UnreachableError(
                f"There is no Jenkins at {self.server} (404). Is a part of the URL missing, such as /jenkins?"
            ) from None
        landed = urlsplit(answer.url)
        if answer.history and f"{landed.scheme}://{landed.netloc}" != "{0.scheme}://{0.netloc}".format(
            urlsplit(self.server)
        ):
            where = f"{landed.scheme}://{landed.netloc}{landed.path.removesuffix('api/json')}"
            raise UsageError(
                f"{self.server} redirects to {where}. Give the URL that needs no redirect.", field="jenkins"
            )
        self._check_place(answer)

    def _check_place(self, answer: Any) -> None:
        if "X-Jenkins" not in answer.headers:
            raise UnreachableError(
                f"What answers at {self.server} is no Jenkins: its answers lack the header X-Jenkins."
            )
        if answer.json().get("_class") not in ROOTS:
            raise UsageError(
                f"{self.server} is a page inside a Jenkins. Give the URL of its front page, and --folder for a folder.",
                field="jenkins",
            )

    def jenkins_request(
        self, req: requests.Request, add_crumb: bool = True, resolve_auth: bool = True, stream: bool | None = None
    ) -> Any:
        """One request; each method of python-jenkins comes here. Raises what `connect` says."""
        try:
            try:
                return super().jenkins_request(req, add_crumb, resolve_auth, stream)
            except _StaleCrumbError:
                self.crumb = None
                return super().jenkins_request(req, add_crumb, resolve_auth, stream)
        except _StaleCrumbError:
            raise ForbiddenError(
                f"Jenkins at {self.server} refuses changes without a crumb (CSRF protection), also with a new one."
                " Use an API token, which needs none, instead of a password."
            ) from None
        except jenkins.TimeoutException:
            raise UnreachableError(f"Jenkins at {self.server} has not answered for {self.timeout:g} s.") from None
        except requests.exceptions.SSLError as error:
            raise UnreachableError(
                f"The certificate of {self.server} is not trusted: {_reason(error)}."
                " Name the authority's certificate by REQUESTS_CA_BUNDLE."
            ) from None
        except requests.exceptions.RequestException as error:
            raise UnreachableError(f"Jenkins at {self.server} can't be reached: {_reason(error)}.") from None

    def _response_handler(self, response: requests.Response) -> Any:
        """python-jenkins' hook for each response."""
        error = self._error(response)
        if error is not None:
            raise error
        return super()._response_handler(response)

    def _error(self, response: requests.Response) -> Exception | None:
        """What is wrong with an answer; None for a good one, and for a 404, which callers tell apart."""
        status, path = response.status_code, urlsplit(response.url).path
        if status < 400 or status == 404:
            return None
        words = _words(response)
        if status == 401:
            return AuthError(
                f"Jenkins at {self.server} does not accept the user and API token (401)."
                " Make a token on the user's page, Security."
            )
        if status == 403:
            if STALE_CRUMB in response.text:
                return _StaleCrumbError()
            return self._forbidden(response, path, words)
        if "X-Jenkins" not in response.headers:
            return UnreachableError(
                f"{self.server} answers {status} {response.reason}, and it is no Jenkins that says so."
            )
        if status == 503:
            return UnreachableError(f"Jenkins at {self.server} is starting or stopping (503); try again in a minute.")
        kind = UsageError if status == 400 else UnreachableError
        return kind(f"Jenkins at {self.server} refuses {path} ({status}): {words or response.reason}.")

    def _forbidden(self, response: requests.Response, path: str, words: str) -> GatewayError:
        who = response.headers.get("X-You-Are-Authenticated-As", "anonymous")
        permission = response.headers.get("X-Required-Permission", "")
        if permission:
            return ForbiddenError(
                f"The user {who!r} of Jenkins {self.server} lacks the permission {_permission(permission)}"
                f" for {path} (403)." + (" Give --user and an API token." if who == "anonymous" else "")
            )
        hint = "" if self.auth else " Give --user and an API token."
        return ForbiddenError(f"Jenkins at {self.server} refuses {path} (403): {words or 'no reason given'}.{hint}")


def _permission(name: str) -> str:
    """`hudson.model.Item.Configure` as Jenkins' pages write it: `Job/Configure`."""
    owner, _, what = name.rpartition(".")
    owner = {"hudson.model.Item": "Job", "hudson.model.Hudson": "Overall"}.get(owner, owner.rpartition(".")[2])
    return f"{owner}/{what}"


def _words(response: requests.Response) -> str:
    """What Jenkins itself says about a failure, in one line: the middle of its page, else its header X-Error."""
    told = response.text
    if "html" in response.headers.get("Content-Type", ""):
        middle = re.search(r'(?s)<div id="main-panel">(.*?)(?:<footer\b|\Z)', told)
        told = re.sub(r"(?s)<(script|style|head|h1)\b.*?</\1>|<!--.*?-->", " ", middle[1] if middle else told)
        told = unescape(re.sub(r"<[^>]*>", " ", told))
    told = told.strip() or response.headers.get("X-Error", "")
    told = " ".join("".join(c if c.isprintable() else " " for c in told).split()).rstrip(".")
    return told if len(told) <= WORDS else told[: WORDS - 1] + "…"


def _reason(error: Exception) -> str:
    """The innermost cause of a connection's failure, without Python's names and addresses."""
    text = str(error)
    for pattern in (r"\[Errno -?\d+\] ([^')\"]+)", r"certificate verify failed: ([^(\"']+)", r"Failed to ([^'\"(]+)"):
        if match := re.search(pattern, text):
            return match[1].strip().rstrip(".")
    return text.rstrip(".")[:WORDS]
