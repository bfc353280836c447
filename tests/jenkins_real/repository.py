"""A git repository of the tests' own, served on loopback as Jenkins' git plugin reads one."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

IDENTITY = {"GIT_AUTHOR_NAME": "tests", "GIT_AUTHOR_EMAIL": "tests@example.org"} | {
    "GIT_COMMITTER_NAME": "tests",
    "GIT_COMMITTER_EMAIL": "tests@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Repository:
    """A repository: files are put into `folder`, `commit` publishes them, `url` is where to clone from.

    It is served by git's plain HTTP: files, without a git process. A local path would do for git, but Jenkins refuses
    those unless an administrator allows them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self._served = folder / "served"
        self.folder.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", self._served / "it.git"], check=True
        )
        self._git("remote", "add", "origin", str(self._served / "it.git"))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(self._served)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where to clone from."""
        return f"http://127.0.0.1:{self._server.server_port}/it.git"

    def put(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def put_folder(self, source: Path, name: str) -> None:
        """Copy a folder, replacing an older copy."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(source, self.folder / name)

    def commit(self, branch: str = "main") -> str:
        """Publish all files as they are now; returns the commit."""
        if branch != "main":
            self._git("checkout", "--quiet", "-B", branch)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", "tests")
        self._git("push", "--quiet", "origin", f"HEAD:{branch}")
        self._git("--git-dir", str(self._served / "it.git"), "update-server-info")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str) -> str:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **IDENTITY}
        command = ["git", "-C", str(self.folder), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
