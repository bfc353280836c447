"""A notebook's parameters cell as the parameters of a build: kind, default, choices, help.

The defaults are those that papermill's convention finds (a cell tagged ``parameters``); type and help come from the
same places as in papermill's inference, an annotation or ``# type:`` comment and the comment behind the assignment
(https://papermill.readthedocs.io/en/latest/usage-inspect.html). It is read from Python's own tokens, since papermill's
patterns stumble over a ``#`` in a string. Pure: no files.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..sources import Program, known_parameters, parameters_cell
from ..sources.values import typed

WHOLE_DIGITS = 9
"""Digits of a whole number that a sandboxed pipeline can convert (``toInteger``)."""

_PYTHON = ("python", "python3", "ipython")
_CHOICES = re.compile(r"\s*[(\[]?\b(?:choices|one of)\s*:\s*(?P<list>[^)\]]+)[)\]]?\s*\Z", re.IGNORECASE)
_TYPE = re.compile(r"type:\s*(?P<type>[^#]+?)\s*(?:#\s*(?P<help>.*))?\Z")
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>.*)(?P=quote)\Z""", re.DOTALL)
# A build's parameters are also its environment variables.
_TAKEN = re.compile(
    r"(?:PATH|HOME|USER|SHELL|LANG|TMPDIR|TEMP|TMP|IFS|ENV|BASH_ENV|WORKSPACE|EXECUTOR_NUMBER|CI|TZ"
    r"|(?:LD|LC|DYLD|PYTHON|JAVA|JENKINS|BUILD|JOB|NODE|STAGE|BRANCH|CHANGE|GIT|HUDSON|KERNEL_GATEWAY|MLFLOW)_?[A-Z_]*)\Z"
)


class Kind(StrEnum):
    """What a build's parameter is on the form of Jenkins, and in the notebook."""

    BOOLEAN = "true or false"
    WHOLE = "a whole number"
    NUMBER = "a number"
    LINE = "a text"
    TEXT = "a text of several lines"


@dataclass(frozen=True, kw_only=True)
class BuildParameter:
    """One parameter. ``default`` is the text on the form (a bool for `Kind.BOOLEAN`); ``choices`` are texts too.

    ``optional`` means that an empty field leaves the notebook's own default as it is.
    """

    name: str
    kind: Kind
    default: str | bool
    help: str = ""
    choices: list[str] = field(default_factory=list)
    optional: bool = False


@dataclass(frozen=True)
class LeftOut:
    """A name that the parameters cell sets and that builds can't set, with the reason in words."""

    name: str
    reason: str


@dataclass
class _Notes:
    """What stands around an assignment."""

    annotation: str = ""
    help: str = ""


def build_parameters(program: Program) -> tuple[list[BuildParameter], list[LeftOut]]:
    """The parameters that a job for this program has, and those that it can't have, in the order of the cell."""
    cell = parameters_cell(program)
    if cell is None:
        return [], []
    language = (program.language or program.kernel or "python").lower()
    language = "python" if language in _PYTHON else language
    notes = _notes(cell.source) if language == "python" else {}
    found: list[BuildParameter] = []
    left_out: list[LeftOut] = []
    for name, source in known_parameters(program, language).items():
        made = _parameter(name, source, notes.get(name, _Notes()), language)
        if isinstance(made, LeftOut):
            left_out.append(made)
        else:
            found.append(made)
    return found, left_out


def _parameter(name: str, source: str, notes: _Notes, language: str) -> BuildParameter | LeftOut:
    if _TAKEN.match(name):
        return LeftOut(name, "builds have an environment variable of that name")
    try:
        default = _value(source, language)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return LeftOut(name, "its default is computed by the notebook")
    kind, optional = _kind(default, notes.annotation)
    if kind is None:
        return LeftOut(name, "a build's form has no field for such a value")
    shown = "" if default is None else default if isinstance(default, bool) else _shown(default)
    if isinstance(shown, str) and not _writable(shown):
        return LeftOut(name, "its default has characters that Jenkins can't keep")
    choices, help = _choices(notes)
    if shown not in choices or not all(_fits(choice, kind) for choice in choices):
        choices = []
    if isinstance(shown, str) and shown and not _fits(shown, kind):
        return LeftOut(name, f"a build's whole numbers have at most {WHOLE_DIGITS} digits")
    return BuildParameter(
        name=name, kind=kind, default=shown, help=help, choices=choices, optional=optional and not choices
    )


def _value(source: str, language: str) -> Any:
    """A default as a value. Raises ValueError or SyntaxError for what is no literal."""
    if language == "python":
        return ast.literal_eval(f"(\n{source}\n)")  # of a value in brackets only the lines inside are known
    text = source.strip().rstrip(";")
    if quoted := _QUOTED.match(text):
        if re.search(r"[\\$\"'`]", quoted["text"]):
            raise ValueError(text)
        return quoted["text"]
    value = typed(re.sub(r"(?<=\d)[LfFdD]\Z", "", text))
    if isinstance(value, str) and (language not in ("bash", "sh") or re.search(r"[\s$`\\\"'();&|<>*?\[{]", value)):
        raise ValueError(text)
    return value


def _kind(default: Any, annotation: str) -> tuple[Kind | None, bool]:
    """Kind, and whether it may be left empty, by the default's type and the annotation."""
    plain = re.sub(r"\s|typing\.|\bt\.", "", annotation)
    optional = default is None
    if match := re.fullmatch(r"Optional\[(.+)\]|(.+)\|None|None\|(.+)", plain):
        plain = next(group for group in match.groups() if group)
    if isinstance(default, bool):
        return Kind.BOOLEAN, False
    if isinstance(default, int):
        return (Kind.NUMBER if plain == "float" else Kind.WHOLE), optional
    if isinstance(default, float):
        return (Kind.NUMBER if math.isfinite(default) else None), optional
    if isinstance(default, str):
        return (Kind.TEXT if "\n" in default else Kind.LINE), optional
    if default is None:
        return {"int": Kind.WHOLE, "float": Kind.NUMBER, "str": Kind.LINE}.get(plain), True
    return None, False


def _choices(notes: _Notes) -> tuple[list[str], str]:
    """Choices by ``Literal[…]`` or a comment that ends with ``choices: a, b``; and the help without that."""
    plain = re.sub(r"^(?:typing\.|t\.)", "", notes.annotation.strip())
    if plain.startswith("Literal["):
        try:
            values = ast.literal_eval("[" + plain.removeprefix("Literal[").removesuffix("]") + "]")
        except (ValueError, SyntaxError):
            values = []
        return [_shown(value) for value in values if isinstance(value, str | int | float)], notes.help
    if match := _CHOICES.search(notes.help):
        words = re.split(r"\s*[|,]\s*", match["list"].strip().rstrip("."))
        choices = [quoted["text"] if (quoted := _QUOTED.match(word)) else word for word in words]
        if len(choices) > 1 and all(choices):
            return list(dict.fromkeys(choices)), notes.help[: match.start()].rstrip(" ,;:-–")
    return [], notes.help


def _fits(text: str, kind: Kind) -> bool:
    """Whether a text on the form passes the pipeline's check of its kind."""
    if kind is Kind.WHOLE:
        return re.fullmatch(rf"[-+]?[0-9]{{1,{WHOLE_DIGITS}}}", text) is not None
    if kind is Kind.NUMBER:
        return re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text) is not None
    return kind is Kind.TEXT or not set("\r\n") & set(text)


def _shown(value: str | int | float) -> str:
    return value if isinstance(value, str) else repr(value)


def _writable(text: str) -> bool:
    """Whether XML 1.0 and a form can hold the text as it is: no control characters, no halves of pairs."""
    return not any(
        (ord(c) < 32 and c not in "\t\n")
        or 0x7F <= ord(c) < 0xA0
        or 0xD800 <= ord(c) < 0xE000
        or ord(c) & 0xFFFE == 0xFFFE
        for c in text
    )


def _notes(source: str) -> dict[str, _Notes]:
    """Annotations and comments of a Python cell's assignments; empty for one with magics."""
    try:
        tree = ast.parse(source)
        comments = {
            token.start[0]: token.string.lstrip("#").strip()
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError):
        return {}
    found: dict[str, _Notes] = {}
    for statement in tree.body:
        notes = _Notes(help=comments.get(statement.end_lineno or statement.lineno, ""))
        if match := _TYPE.match(notes.help):
            notes = _Notes(match["type"], match["help"] or "")
        if isinstance(statement, ast.AnnAssign):
            notes.annotation = ast.unparse(statement.annotation)
        notes.help = "".join(c if _writable(c) else " " for c in notes.help)
        for name in _names(statement):
            found[name] = notes
    return found


def _names(statement: ast.stmt) -> Iterator[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id
