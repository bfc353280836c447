"""The one place that opens a Jenkins: where it is, who asks, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import UnreachableError, UsageError

if TYPE_CHECKING:
    import jenkins

TIMEOUT = 30.0
"""Seconds that Jenkins may take for one answer."""

URL_VARIABLES = ("KERNEL_GATEWAY_JENKINS_URL", "JENKINS_URL")
USER_VARIABLES = ("KERNEL_GATEWAY_JENKINS_USER", "JENKINS_USER")
TOKEN_VARIABLES = ("KERNEL_GATEWAY_JENKINS_TOKEN", "JENKINS_API_TOKEN")
"""Environment variables that name a Jenkins; the first that is set counts. Jenkins sets JENKINS_URL in builds."""


@dataclass(frozen=True)
class Address:
    """A Jenkins and who asks it: URL, user and API token; no user stands for an anonymous one."""

    url: str
    user: str | None = None
    token: str | None = field(default=None, repr=False)


def address(
    environ: Mapping[str, str], *, url: str | None = None, user: str | None = None, token_variable: str | None = None
) -> Address:
    """The Jenkins that options and environment name; commands call it before `connect`.

    ``token_variable`` names the variable that holds the API token, instead of `TOKEN_VARIABLES`. Raises `UsageError`
    when no URL is given, the URL can't be one, or of user and token only one is there.
    """
    if token_variable is not None and not environ.get(token_variable):
        raise UsageError(
            f"The environment has no variable {token_variable} with Jenkins' API token.", field="token_env"
        )
    token = environ[token_variable] if token_variable is not None else _first(environ, TOKEN_VARIABLES)
    user = user or _first(environ, USER_VARIABLES)
    url = url or _first(environ, URL_VARIABLES)
    if not url:
        raise UsageError(
            f"No Jenkins is named: give --jenkins URL, or set {URL_VARIABLES[0]} or {URL_VARIABLES[1]}.",
            field="jenkins",
        )
    if (user is None) != (token is None):
        there, missing = ("user", "API token") if token is None else ("API token", "user")
        how = f"set {TOKEN_VARIABLES[0]}" if token is None else f"give --user NAME, or set {USER_VARIABLES[0]}"
        raise UsageError(f"A {there} for Jenkins is given, but no {missing}: {how}.", field="user")
    return Address(checked_url(url), user, token)


def checked_url(url: str) -> str:
    """The URL with one slash at its end. Raises `UsageError`, which never shows a password, for what can't be one."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "The URL of Jenkins holds a user or password. Give --user, and the API token by the environment.",
            field="jenkins",
        )
    if not usable or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} is not the URL of a Jenkins; it looks like http://HOST:PORT/ or https://HOST/jenkins/.",
            field="jenkins",
        )
    return url.rstrip("/") + "/"


def connect(
    url: str, user: str | None = None, token: str | None = None, *, timeout: float = TIMEOUT
) -> jenkins.Jenkins:
    """The Jenkins at ``url``, asked once so that what is wrong shows here.

    Commands and triggers call it once and use python-jenkins' methods of what it returns. Those raise our errors too:
    `UnreachableError` when nothing or no Jenkins answers or it fails, `AuthError` for a wrong user or token,
    `ForbiddenError` for a permission that is missing; a `jenkins.NotFoundException` stays what it is. ``timeout`` is
    in seconds and for one answer. Raises `UsageError` besides when the URL can't be one, redirects elsewhere, or
    python-jenkins is not installed.
    """
    url = checked_url(url)
    try:
        from .server import Server
    except ModuleNotFoundError as error:
        if error.name not in ("jenkins", "requests"):
            raise
        raise UsageError("This needs the extra `jenkins`. In a clone: pip install '.[jenkins]'") from None
    server = Server(url, user, token, timeout=timeout)
    server.greet()
    return server


@contextmanager
def clear_errors() -> Iterator[None]:
    """Around calls of python-jenkins: what it raises of its own (an answer that is no JSON, say) becomes ours.

    A `jenkins.NotFoundException` becomes one, too: handle it inside where it is expected.
    """
    import jenkins

    try:
        yield
    except jenkins.JenkinsException as error:
        raise UnreachableError(f"Jenkins did not do what was asked: {' '.join(str(error).split())}.") from None


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
