"""Jenkins as its remote API shows it: jobs, builds, logs, artifacts, scripts of an administrator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests

T = TypeVar("T")

MAYBE = (requests.ConnectionError, requests.Timeout)
"""What a controller that stops or starts just now answers with."""


def poll(ask: Callable[[], T], seconds: float, what: str, every: float = 0.1) -> T:
    """Ask until the answer is true; fail after some seconds with a sentence that says what did not come."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(every)


@dataclass
class Jenkins:
    """A Jenkins that answers at a URL, seen as one user with an API token, who needs no crumbs."""

    url: str
    user: str
    token: str
    session: requests.Session = field(default_factory=requests.Session, repr=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.session.trust_env = False
        self.session.auth = (self.user, self.token)

    def ask(self, method: str, path: str, **request: Any) -> requests.Response:
        """One request; a path or a whole URL. Answers from 400 on are errors, with Jenkins' own words."""
        url = path if path.startswith("http") else self.url + path
        response = self.session.request(method, url, timeout=60, **request)
        assert response.status_code < 400, f"{method} {path}: {response.status_code} {response.text[:2000]}"
        return response

    def json(self, path: str, **query: str) -> Any:
        """A page's `api/json`."""
        return self.ask("GET", f"{path.rstrip('/')}/api/json", params=query).json()

    @property
    def version(self) -> str:
        """The controller's version, as each of its answers says."""
        return self.ask("GET", "/login").headers["X-Jenkins"]

    def plugins(self) -> dict[str, str]:
        """Active plugins and their versions."""
        found = self.json("/pluginManager", tree="plugins[shortName,version,active]")["plugins"]
        return {plugin["shortName"]: plugin["version"] for plugin in found if plugin["active"]}

    def script(self, groovy: str) -> str:
        """What a Groovy script of an administrator prints. One that fails prints a stack trace: it is an error."""
        text = self.ask("POST", "/scriptText", data={"script": groovy}).text
        assert "\tat " not in text, text[:3000]
        return text

    def create(self, name: str, xml: str) -> None:
        """A job from its XML; an older one of that name is deleted."""
        if self.session.get(f"{self.url}/job/{name}/api/json", timeout=60).status_code == 200:
            self.ask("POST", f"/job/{name}/doDelete")
        self.ask(
            "POST",
            "/createItem",
            params={"name": name},
            data=xml.encode(),
            headers={"Content-Type": "application/xml; charset=utf-8"},
        )

    def build(self, job: str, **parameters: str) -> Build:
        """Start a job's build and wait until it has a number."""
        way = "buildWithParameters" if parameters else "build"
        item = self.ask("POST", f"/job/{job}/{way}", data=parameters).headers["Location"]

        def number() -> int | None:
            executable = self.json(item).get("executable")
            return executable and int(executable["number"])

        found = poll(number, 60, f"the start of a build of {job}")
        assert found is not None
        return Build(self, job, found)

    def run(self, job: str, xml: str, **parameters: str) -> Build:
        """Create a job and start its first build."""
        self.create(job, xml)
        return self.build(job, **parameters)


@dataclass
class Build:
    """One build of a job; `job` may be a path such as `folder/job/branch`."""

    jenkins: Jenkins
    job: str
    number: int

    @property
    def path(self) -> str:
        """Where its page stands."""
        return f"/job/{self.job}/{self.number}"

    @property
    def url(self) -> str:
        """Its page."""
        return self.jenkins.url + self.path

    def info(self, tree: str = "") -> Any:
        """What its `api/json` says."""
        return self.jenkins.json(self.path, **({"tree": tree} if tree else {}))

    def log(self) -> str:
        """Its console as far as it got, without Jenkins' invisible notes."""
        return self.jenkins.ask("GET", f"{self.path}/consoleText").text

    def pieces(self, every: float = 0.02) -> Iterator[tuple[float, str]]:
        """The progressive log as the build's page reads it: when a piece came (`time.time()`) and its text."""
        start = 0
        while True:
            answer = self.jenkins.ask("GET", f"{self.path}/logText/progressiveText", params={"start": str(start)})
            came, size = time.time(), int(answer.headers["X-Text-Size"])
            if size > start:
                yield came, answer.content.decode("utf-8", "replace")
            start = size
            if answer.headers.get("X-More-Data") != "true":
                return
            time.sleep(every)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until the console holds a text; a build that ends without it is an error."""

        def there() -> bool:
            ended = bool(self.result())  # asked before the log is read: a build that has ended says no more
            try:
                log = self.log()
            except (*MAYBE, AssertionError):  # the controller is away, or starts and answers 503
                return False
            assert text in log or not ended, f"the build ended without {text!r}:\n{log[-4000:]}"
            return text in log

        poll(there, seconds, f"{text!r} in the console of {self.url}")

    def result(self) -> str:
        """The result, such as SUCCESS, once it has ended; until then, and while the controller is away, nothing.

        Each of the two words is false for a moment while the build is on: one before it begins, one when a step has set
        a result.
        """
        try:
            info = self.info("building,inProgress,result")
        except (*MAYBE, AssertionError):
            return ""
        return "" if info["building"] or info["inProgress"] else str(info["result"] or "")

    def wait(self, seconds: float = 300) -> str:
        """Wait for the end; returns the result."""
        try:
            return poll(self.result, seconds, f"the end of {self.url}")
        except AssertionError:
            print(self.log()[-6000:])
            raise

    def abort(self) -> None:
        """Press its red button."""
        self.jenkins.ask("POST", f"{self.path}/stop")

    def artifact(self, path: str) -> bytes:
        """An archived file."""
        return self.jenkins.ask("GET", f"{self.path}/artifact/{path}").content

    def artifacts(self) -> list[str]:
        """Paths of its archived files."""
        return [artifact["relativePath"] for artifact in self.info("artifacts[relativePath]")["artifacts"]]
