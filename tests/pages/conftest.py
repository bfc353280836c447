"""The application with somebody logged in to its pages, and a real browser in front of a real service."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Cookie, TestResponse

from tests.api.conftest import Service, empty_database, service, settings
from tests.browser.conftest import browser
from tests.service.conftest import serve

__all__ = ["Reader", "browser", "empty_database", "serve", "service", "settings"]


class Reader:
    """Somebody with a browser of the simplest kind, logged in with a token of one scope."""

    def __init__(self, service: Service, scope: str = "admin") -> None:
        self.service = service
        self.token = service.new_token(scope) if scope != "admin" else service.token
        self.client: FlaskClient = service.app.test_client()
        answer = self.client.post("/login", data={"token": self.token})
        assert answer.status_code == 303, answer.text

    def get(self, path: str, **more: Any) -> TestResponse:
        """A page."""
        return self.client.get(path, buffered=True, **more)

    def page(self, path: str) -> str:
        """The HTML of a page that is there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    @property
    def cookie(self) -> Cookie:
        """What the browser keeps of the login."""
        (cookie,) = (self.client._cookies or {}).values()
        return cookie

    @property
    def csrf(self) -> str:
        """What the forms of this session carry."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.page("/"))
        assert found
        return found[1]

    def press(self, path: str, **more: Any) -> TestResponse:
        """Send a form of a page, as a browser does."""
        data = {"csrf": self.csrf} | more.pop("data", {})
        return self.client.post(path, data=data, headers={"Sec-Fetch-Site": "same-origin"} | more.pop("headers", {}))


@pytest.fixture
def reader(service: Service) -> Reader:
    """Somebody who may do everything."""
    return Reader(service)


@pytest.fixture
def reader_with(service: Service) -> Callable[[str], Reader]:
    """Makes readers with other scopes."""
    return lambda scope: Reader(service, scope)
