"""A repository of R packages in a folder, as CRAN's are laid out, with one tiny package; and a lock file for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path


def make_repository(folder: Path) -> str:
    """Build the package ``tinyr`` into a repository below `folder`; returns the repository's URL."""
    source = folder / "tinyr"
    (source / "R").mkdir(parents=True)
    (source / "DESCRIPTION").write_text(
        "Package: tinyr\nVersion: 1.2.3\nTitle: Tiny\nDescription: Says that it is there.\nLicense: MIT\n"
        "Author: Nobody\nMaintainer: Nobody <nobody@example.org>\n"
    )
    (source / "NAMESPACE").write_text("export(answer)\n")
    (source / "R" / "answer.R").write_text("answer <- function() 42\n")
    place = folder / "repository" / "src" / "contrib"
    place.mkdir(parents=True)
    for command in (
        ["R", "CMD", "build", str(source)],
        ["Rscript", "-e", 'tools::write_PACKAGES(".", type = "source")'],
    ):
        subprocess.run(command, cwd=place, check=True, capture_output=True)
    return f"file://{folder / 'repository'}"


def write_lock(file: Path, url: str, version: str = "1.2.3") -> None:
    """Write a renv.lock that asks for the package."""
    package = {"Package": "tinyr", "Version": version, "Source": "Repository", "Repository": "LOCAL"}
    repositories = [{"Name": "LOCAL", "URL": url}]
    lock = {"R": {"Version": "4.2.2", "Repositories": repositories}, "Packages": {"tinyr": package}}
    file.write_text(json.dumps(lock))
