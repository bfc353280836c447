"""The gateway, as a runner on another machine reaches it: over HTTP, with the pass of its run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
import urllib3

from ...errors import GatewayError, StorageError, UnreachableError

PREFIX = "/api/v1/runners"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
CHUNK = 1 << 20

_OVER = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE)


class NotWantedError(GatewayError):
    """The gateway takes nothing more for the run: it has ended, was given to another runner, is gone, or would have
    to take what is too large for it.
    """


class Home:
    """One run's gateway. Raises `NotWantedError`, and `UnreachableError` for all that may be better later.

    Certificates are checked against what the machine trusts; ``SSL_CERT_FILE`` names others.
    """

    def __init__(self, url: str, run: str, password: str) -> None:
        self._base = f"{url.rstrip('/')}{PREFIX}/{run}"
        self._headers = {"Authorization": f"Bearer {password}"}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        # Not through a proxy: whatever else the machine talks to, the gateway is near. Nobody else tries again for us.
        self._pool = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=4)

    def begin(self) -> dict[str, Any]:
        """What to do: ``request``, ``log``, ``secrets``, ``settings``, ``version``."""
        return self._told(self._ask("GET", ""))

    def append(self, offset: int, piece: bytes) -> int:
        """Send a piece of the event log that begins at a byte; returns where the gateway's copy ends then."""
        return int(self._told(self._ask("POST", f"/events/{offset}", body=piece))["size"])

    def send(self, digest: str, file: Path) -> None:
        """Send a file's content. Raises OSError when it can't be read."""
        with file.open("rb") as content:
            size = os.fstat(content.fileno()).st_size
            self._ask("PUT", f"/blobs/{digest}", body=content, headers={"Content-Length": str(size)})

    def fetch(self, digest: str, target: Path) -> None:
        """Fetch a file of the run to its place, whole or not at all. Raises `StorageError` for a full disk."""
        summed = hashlib.sha256()
        part = None
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
                part = file.name
                with contextlib.closing(self._open("GET", f"/blobs/{digest}", preload_content=False)) as answer:
                    for chunk in answer.stream(CHUNK):
                        summed.update(chunk)
                        file.write(chunk)
            if summed.hexdigest() != digest:
                raise UnreachableError(f"The gateway sent other content than {digest}.")
            os.replace(part, target)
            part = None
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"The gateway's answer broke off: {error}") from error
        except OSError as error:
            raise StorageError(f"{target} can't be written: {error.strerror}.") from error
        finally:
            if part is not None:
                with contextlib.suppress(OSError):
                    os.unlink(part)

    def _told(self, body: bytes) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            told = orjson.loads(body)
            if isinstance(told, dict):
                return told
        raise UnreachableError(f"What answers at {self._base} is no gateway. See --node-url.")

    def _ask(self, method: str, path: str, **more: Any) -> bytes:
        return self._open(method, path, **more).data

    def _open(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(
                method, self._base + path, headers={**self._headers, **(headers or {})}, redirect=False, **more
            )
            if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return answer
            words = _words(answer.data)  # `preload_content` off: read here
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"No gateway answers at {self._base}: {error}") from error
        if answer.status < HTTPStatus.BAD_REQUEST:
            place = answer.headers.get("Location", "another address")
            raise UnreachableError(
                f"{self._base} refers to {place[:200]}: name the gateway's own address (--node-url)."
            )
        if answer.status in _OVER:
            raise NotWantedError(words)
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # it would be so every time
            raise NotWantedError(f"What the run has put out is too large for the gateway at {self._base}: {words}")
        raise UnreachableError(f"The gateway at {self._base} answers {answer.status}: {words}")

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _words(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
