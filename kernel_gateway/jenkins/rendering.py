"""YAML of jenkins-job-builder to the config.xml of each job, offline, by jenkins-job-builder's own code."""

from __future__ import annotations

import logging
import tempfile
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .comparison import parse_config
from .marker import mark

_CONFIGURATION = """[job_builder]
ignore_cache=True
keep_descriptions=False
[jenkins]
url=http://localhost/
query_plugins_info=False
"""
# jenkins-job-builder's own marker. It goes, or `jenkins-jobs --delete-old` of somebody else would delete our jobs.
_MARKER_OF_JOB_BUILDER = "<!-- Managed by Jenkins Job Builder -->"

_SUFFIXES = (".yml", ".yaml")  # of what jenkins-job-builder reads in a folder

_STUMBLES = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""What jenkins-job-builder lets through of a value that it did not expect."""

LONGEST_NAME = 200
"""Bytes of a job's name without its folders: it is a folder on Jenkins' disk."""


@dataclass(frozen=True)
class RenderedJob:
    """A job as the YAML has it. ``name`` includes its folders, ``config`` is its config.xml with our marker."""

    name: str
    config: str

    @property
    def root(self) -> ElementTree.Element:
        """The config.xml as a tree, new at each call."""
        return parse_config(self.config)


def render_jobs(
    paths: Sequence[Path], *, owner: str, folder: str = "", define: Mapping[str, str] | None = None
) -> list[RenderedJob]:
    """The jobs that files and folders of YAML define, in the order of their names; nothing is asked of a Jenkins.

    ``owner`` is the set that the jobs' marker names, ``folder`` the folder on Jenkins that all go below, ``define``
    values that win over the ``defaults`` of the name ``global``. Raises `UsageError` for files that aren't there, and
    for what jenkins-job-builder refuses, with file, line and column.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file or folder {path} with jobs.", field="paths")
    builder = _job_builder()
    prefix = "/".join(part for part in folder.split("/") if part)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            elements = _elements(builder, paths, define or {})
    except builder.JenkinsJobsException as error:
        raise UsageError("The jobs can't be rendered. " + "\n".join(map(str, error.lines)).strip()) from None
    except (builder.YAMLError, builder.TemplateError, UnicodeDecodeError) as error:
        raise UsageError(f"The jobs can't be rendered: {error}") from None
    except OSError as error:
        raise UsageError(f"{error.filename} can't be read: {error.strerror}.", field="paths") from error
    except _STUMBLES as error:
        raise UsageError(f"The jobs can't be rendered: {_stumbled(error)}") from error
    jobs = []
    for name, root in sorted(elements, key=lambda item: item[0]):
        whole = f"{prefix}/{name}" if prefix else name
        check_name(whole)
        jobs.append(RenderedJob(whole, _marked(whole, root, owner)))
    return jobs


def is_whole(paths: Sequence[Path]) -> bool:
    """Whether these are a whole set of jobs: folders of YAML, or files together with all other YAML beside them.

    Of a part nobody can say which jobs are gone, of a folder without YAML neither. Called after `render_jobs`.
    """
    given = {path.resolve() for path in paths}

    def beside(folder: Path) -> set[Path]:
        return {file.resolve() for file in folder.iterdir() if file.suffix in _SUFFIXES}

    return all(
        beside(path) if path.is_dir() else path.suffix in _SUFFIXES and beside(path.parent) <= given for path in given
    )


def _marked(name: str, root: ElementTree.Element, owner: str) -> str:
    description = root.find("description")
    if description is None:
        description = ElementTree.SubElement(root, "description")
    text = str(description.text or "").replace(_MARKER_OF_JOB_BUILDER, "")
    description.text = mark(text, owner) if owner else text
    for element in root.iter():
        if element.text is not None:
            element.text = str(element.text)  # jenkins-job-builder leaves numbers of the YAML as such
        if element.text and not all(c.isprintable() or c in "\t\n\r" or ord(c) > 159 for c in element.text):
            raise UsageError(f"The job {name!r} has a control character in its {element.tag!r}, which XML can't hold.")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def check_name(name: str) -> None:
    """Refuses what Jenkins refuses as a job's name, before anything is done. Raises `UsageError`."""
    for part in name.split("/"):
        if (
            not part
            or part in (".", "..")
            or part != part.strip()
            or part.endswith(".")
            or set(part) & set('?*\\%!@#$^&|<>[]:;"')
        ):
            raise UsageError(f"{name!r} can't be the name of a Jenkins job.", field="name")
        if len(part.encode("utf-8", "replace")) > LONGEST_NAME:
            raise UsageError(f"{part[:40]!r}… is too long for the name of a Jenkins job.", field="name")
        if not part.isprintable():
            raise UsageError(f"{name!r} can't be the name of a Jenkins job: it has control characters.", field="name")


def _elements(builder: Any, paths: Sequence[Path], define: Mapping[str, str]) -> list[tuple[str, ElementTree.Element]]:
    configuration = _configuration(builder)
    roots = builder.Roots(configuration)
    builder.load_files(configuration, roots, [path.resolve() for path in paths])
    _apply_definitions(roots, define)
    registry = builder.ModuleRegistry(configuration, [])
    registry.set_macros(roots.macros)
    jobs = roots.generate_jobs()
    registry.amend_job_dicts(jobs)
    found = []
    for job in jobs:
        try:
            made = builder.XmlJobGenerator(registry).generateXML([job])
        except _STUMBLES as error:
            raise UsageError(f"The job {job.name!r} can't be rendered: {_stumbled(error)}") from error
        found += [(one.name, one.xml) for one in made]
    return found


def _stumbled(error: Exception) -> str:
    return (
        "a value in the YAML is missing, or of another kind than it must be; jenkins-job-builder stumbles over it:"
        f" {type(error).__name__}: {error}."
    )


def _configuration(builder: Any) -> Any:
    """jenkins-job-builder's settings: none from this machine, so that a job is the same wherever it is rendered."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini", encoding="utf-8") as file:
        file.write(_CONFIGURATION)
        file.flush()
        return builder.JJBConfig(file.name, config_file_required=True)


def _apply_definitions(roots: Any, define: Mapping[str, str]) -> None:
    if not define:
        return
    known = roots.defaults["global"].params if "global" in roots.defaults else {}
    for name, value in define.items():
        if name not in known:
            raise UsageError(
                f"There is no setting {name!r} to define; the defaults named `global` have:"
                f" {', '.join(known) or 'none'}.",
                field="define",
            )
        known[name] = value


def _job_builder() -> Any:
    """The parts of jenkins-job-builder used here. Raises `UsageError` when it is not installed."""
    from types import SimpleNamespace

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports pkg_resources, which says of itself that it goes away
            import jinja2
            import yaml
            from jenkins_jobs.config import JJBConfig
            from jenkins_jobs.errors import JenkinsJobsException
            from jenkins_jobs.loader import load_files
            from jenkins_jobs.registry import ModuleRegistry
            from jenkins_jobs.roots import Roots
            from jenkins_jobs.xml_config import XmlJobGenerator
    except ModuleNotFoundError as error:
        raise UsageError(
            f"This needs the extra `jenkins` ({error.name} is missing). In a clone: pip install '.[jenkins]'"
        ) from None
    logging.getLogger("jenkins_jobs").setLevel(logging.CRITICAL)  # what it logs as an error it also raises
    return SimpleNamespace(
        JJBConfig=JJBConfig,
        JenkinsJobsException=JenkinsJobsException,
        ModuleRegistry=ModuleRegistry,
        Roots=Roots,
        TemplateError=jinja2.TemplateError,
        XmlJobGenerator=XmlJobGenerator,
        YAMLError=yaml.YAMLError,
        load_files=load_files,
    )
