"""A kernel that can't look at what is not its business, by bubblewrap (https://github.com/containers/bubblewrap).

The service runs kernels of different builds side by side as one user. In the sandbox a kernel has processes
of its own and does not see the service's data folder (tokens, database, other runs), but its own working
folder; the rest of the machine is as the service's user sees it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from ..errors import KernelStartError, UsageError
from .namespaces import ROOTS_CAPABILITIES

_TRY_SECONDS = 10

SHORT_FOLDER = Path(f"/tmp/kernel-gateway-{os.getuid()}")
"""Where connection folders lie if the data folder's path is too long for their sockets; empty in every sandbox."""


def make_short_folder() -> Path:
    """That folder, private to this user. Raises `KernelStartError` if somebody else made it."""
    SHORT_FOLDER.mkdir(mode=0o700, exist_ok=True)
    found = SHORT_FOLDER.lstat()
    if not S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise KernelStartError(f"{SHORT_FOLDER} is not a private folder of this user. Remove it.")
    return SHORT_FOLDER


@dataclass(frozen=True)
class Sandbox:
    """What a kernel may see. ``hidden``: a folder that is empty for it; ``visible``: folders in it that are not;
    ``network``: whether it has one. ``memory``: bytes of data that each of its processes may hold, 0 for no limit.
    ``readable``: folders that it may read but not write, for kernels that are not forked.
    """

    hidden: Path
    visible: tuple[Path, ...]
    network: bool = True
    memory: int = 0
    readable: tuple[Path, ...] = ()

    def walls(self, folder: Path, cwd: Path) -> dict[str, Any]:
        """The same for a kernel that is forked: what `namespaces.start` takes."""
        return {
            "hidden": [str(self.hidden), str(SHORT_FOLDER)],
            "visible": [str(path) for path in (*self.visible, folder, cwd)],
            "network": self.network,
            "memory": self.memory,
        }

    def wrap(self, argv: list[str], folder: Path, cwd: Path) -> list[str]:
        """A kernel's command in the sandbox. `folder`, its connection folder, and `cwd` stay visible."""
        binds = [part for path in self.readable for part in ("--ro-bind", str(path), str(path))]
        binds += [part for path in (*self.visible, folder, cwd) for part in ("--bind", str(path), str(path))]
        hidden = [part for path in (self.hidden, SHORT_FOLDER) if path.exists() for part in ("--tmpfs", str(path))]
        limit = ["prlimit", f"--data={self.memory}", "--"] if self.memory else []
        isolation = ["--unshare-pid", *([] if self.network else ["--unshare-net"])]
        if os.geteuid() == 0:  # others have no capabilities there
            isolation += ["--cap-drop", "ALL"]
            isolation += [word for name in ROOTS_CAPABILITIES for word in ("--cap-add", name)]
        return [
            *("bwrap", "--die-with-parent", *isolation, "--dev-bind", "/", "/", "--proc", "/proc"),
            *(*hidden, *binds, "--chdir", str(cwd), "--", *limit, *argv),
        ]


@cache
def works() -> bool:
    """Whether bubblewrap is installed and may make namespaces here; tried once. Containers often forbid it."""
    if shutil.which("bwrap") is None:
        return False
    command = ["bwrap", "--die-with-parent", "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc", "--", "true"]
    try:
        return subprocess.run(command, capture_output=True, timeout=_TRY_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def wanted(setting: str) -> bool:
    """Whether to use the sandbox, by the setting ``auto``, ``on`` or ``off``.

    Raises `UsageError` for another value, and when it must be used but does not work.
    """
    if setting not in ("auto", "on", "off"):
        raise UsageError(f"The setting sandbox is {setting!r}; it must be auto, on or off.", field="sandbox")
    if setting == "on" and not works():
        raise UsageError("The sandbox does not work here: install bubblewrap and allow namespaces.", field="sandbox")
    return setting != "off" and works()
