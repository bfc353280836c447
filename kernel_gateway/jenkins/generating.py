"""The job of one notebook: YAML for jenkins-job-builder and a Jenkinsfile. Pure: texts in, texts out.

The Jenkinsfile stays in the repository beside the notebook; the job takes it from there, so that a build runs the
pipeline of the commit that it builds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import groovy
from .headings import title_and_sections
from .parameters import WHOLE_DIGITS, BuildParameter, Kind, LeftOut, build_parameters

if TYPE_CHECKING:
    from ..sources import Program

BUILDS_KEPT = 50
"""Builds that a generated job keeps."""

_CHECKS = {
    Kind.WHOLE: f"""
// The build's parameter as a whole number; null where the job has no such parameter, or it is empty.
def wholeNumber(String name) {{
    if (!params[name]) {{
        return null
    }}
    if (!(params[name] ==~ /[-+]?[0-9]{{1,{WHOLE_DIGITS}}}/)) {{
        error("The parameter ${{name}} must be a whole number of up to {WHOLE_DIGITS} digits, not '${{params[name]}}'.")
    }}
    return params[name].toInteger()
}}
""",
    Kind.NUMBER: """
// The build's parameter as a number; null where the job has no such parameter, or it is empty.
def number(String name) {
    if (!params[name]) {
        return null
    }
    if (!(params[name] ==~ /[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?/)) {
        error("The parameter ${name} must be a number, not '${params[name]}'.")
    }
    return params[name].toDouble()
}
""",
    Kind.TEXT: """
// The build's parameter as a text with the notebook's line ends: browsers send Windows' ones.
def lines(String name) {
    return params[name] == null ? null : params[name].replace('\\r\\n', '\\n')
}
""",
}
_CALLS = {Kind.WHOLE: "wholeNumber", Kind.NUMBER: "number", Kind.TEXT: "lines"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the notebook lies, and who fetches it from there."""

    notebook: str
    """Path in the repository, with slashes."""
    repository: str
    """URL of the repository, for git."""
    branch: str
    script: str
    """Path of the Jenkinsfile in the repository."""
    credentials: str = ""
    """Id of Jenkins' credentials for the repository; none if empty."""


@dataclass(frozen=True)
class Generated:
    """What was made for a notebook; ``left_out`` are names in its parameters cell that builds can't set."""

    name: str
    yaml: str
    jenkinsfile: str
    parameters: Sequence[BuildParameter]
    left_out: Sequence[LeftOut]


def generate(program: Program, place: Place, *, name: str | None = None) -> Generated:
    """The job for a notebook; `jobs generate` calls it. ``name`` is the job's, by default the notebook's."""
    parameters, left_out = build_parameters(program)
    title, sections = title_and_sections(program, program.name)
    job = name or job_name(program.name)
    return Generated(
        job,
        _yaml(job, title, sections, parameters, place),
        _jenkinsfile(title, sections, parameters, place),
        parameters,
        left_out,
    )


def job_name(stem: str) -> str:
    """A file's name without its suffix as a job's name that Jenkins takes."""
    plain = re.sub(r"[^\w.+=~,(){}-]+", "-", stem).strip("-. ")
    return plain or "notebook"


def _yaml(name: str, title: str, sections: Sequence[str], parameters: Sequence[BuildParameter], place: Place) -> str:
    import yaml

    git: dict[str, Any] = {"url": place.repository, "branches": [f"*/{place.branch}"], "wipe-workspace": False}
    if place.credentials:
        git["credentials-id"] = place.credentials
    job: dict[str, Any] = {
        "name": name,
        "description": _description(title, sections, place.notebook),
        "project-type": "pipeline",
        "concurrent": False,
        "properties": [{"build-discarder": {"num-to-keep": BUILDS_KEPT}}],
        "parameters": [_form_field(parameter) for parameter in parameters],
        "pipeline-scm": {"scm": [{"git": git}], "script-path": place.script, "lightweight-checkout": True},
    }
    if not parameters:
        del job["parameters"]
    text: str = yaml.dump([{"job": _escaped(job)}], Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=100)
    return (
        "# Written by `kernel-gateway jobs generate`, made to be edited. Doubled braces stand for single ones.\n" + text
    )


def _dumper() -> Any:
    """PyYAML's safe dumper, which writes texts of several lines as such where it can."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return Dumper


def _description(title: str, sections: Sequence[str], notebook: str) -> str:
    """What the job's page says. Jenkins may take it for HTML, so nothing in it can be a tag or an entity."""
    lines = [title, "", f"Runs {notebook}."]
    if sections:
        lines.append("Sections: " + " · ".join(sections))
    return "\n".join(_words(line) for line in lines)


def _form_field(parameter: BuildParameter) -> dict[str, Any]:
    help = [_words(parameter.help)] if parameter.help else []
    if parameter.kind in (Kind.WHOLE, Kind.NUMBER):
        help.append(f"({parameter.kind.value})")
    if parameter.optional:
        help.append("Empty: the notebook's own default.")
    field: dict[str, Any] = {"name": parameter.name, "description": " ".join(help)}
    if parameter.choices:
        # Jenkins offers the first one as the default.
        others = [choice for choice in parameter.choices if choice != parameter.default]
        return {"choice": {**field, "choices": [parameter.default, *others]}}
    kind = {Kind.BOOLEAN: "bool", Kind.TEXT: "text"}.get(parameter.kind, "string")
    return {kind: {**field, "default": parameter.default}}


def _jenkinsfile(title: str, sections: Sequence[str], parameters: Sequence[BuildParameter], place: Place) -> str:
    kinds = [kind for kind in _CHECKS if any(parameter.kind is kind for parameter in parameters)]
    run = [f"notebook: {groovy.text(place.notebook)},"] + (["params: notebookParameters(),"] if parameters else [])
    lines = [
        f"// Runs {groovy.comment(place.notebook)}. Written by `kernel-gateway jobs generate`, made to be edited.",
        "@Library('kernel-gateway') _",
        "",
        "pipeline {",
        "    agent any",
        "    stages {",
        f"        stage({groovy.text(title)}) {{",
        *(["            // One stage, since a notebook is one run in one kernel. Its sections:"] if sections else []),
        *(f"            //   {groovy.comment(section)}" for section in sections),
        "            steps {",
        "                kernelRun(",
        *(f"                    {line}" for line in run),
        "                    // require: ['accuracy >= 0.9'],",
        "                    // artifacts: ['model/*'],",
        "                )",
        "            }",
        "        }",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n" + _values(parameters) + "".join(_CHECKS[kind] for kind in kinds)


def _values(parameters: Sequence[BuildParameter]) -> str:
    if not parameters:
        return ""
    lines = ["", "// The build's parameters as the notebook's; those that the job lacks keep the notebook's default."]
    lines += ["def notebookParameters() {", "    def values = [:]"]
    for parameter in parameters:
        name = groovy.text(parameter.name)
        call = f"{_CALLS[parameter.kind]}({name})" if parameter.kind in _CALLS else f"params[{name}]"
        if parameter.optional and parameter.kind is Kind.LINE:
            call += " ?: null"
        lines.append(f"    values[{name}] = {call}")
    lines += ["    return values.findAll { name, value -> value != null }", "}"]
    return "\n".join(lines) + "\n"


def _words(text: str) -> str:
    """Words that mean the same as plain text and as HTML, in one line that XML can hold."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(line.replace("&", "＆").replace("<", "‹").replace(">", "›").split())


def _escaped(value: Any) -> Any:
    """A value in which jenkins-job-builder sees no variables."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
