"""A Python package that is built by its own code, without any other package: what a build may do, and see, shows."""

from __future__ import annotations

from pathlib import Path

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1.0"
"""

BACKEND = """\
import os, time, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
{code}
    name = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as file:
        file.writestr("tiny.py", "seen = " + repr(seen))
        file.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
        file.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\\n")
    return name
"""


def write_package(folder: Path, code: str = "seen = None") -> None:
    """Make the package ``tiny``; `code` is run by its build, and what it leaves in ``seen`` is ``tiny.seen``."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    indented = "".join(f"    {line}\n" for line in code.splitlines())
    (folder / "backend.py").write_text(BACKEND.format(code=indented.rstrip("\n")))
