"""Which names a parameters cell sets, and to what: by ``ast`` for Python, by patterns for other languages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_MAGIC_ASSIGNMENT = re.compile(r"(?P<indent>\s*)(?P<name>[^\W\d]\w*)\s*=\s*(?P<value>[!%].*)\Z")
_MAGIC_LINE = re.compile(r"(?P<indent>\s*)(?:[!%]|\?\w|[\w.]+\?{1,2}\s*\Z)")

_NAME = r"(?P<name>[A-Za-z_$][\w$]*)"
_TYPED = re.compile(
    rf"(?:(?:export|declare|public|private|static|implicit|lazy|const|let|var|val)\s+)+{_NAME}"
    r"(?:\s*:\s*[^=]+?)?\s*=\s*(?P<value>[^=>~].*)\Z",
    re.DOTALL,
)
_PLAIN = re.compile(rf"(?:(?:global|const)\s+)?{_NAME}(?:::[\w{{}},. ]+)?\s*=\s*(?P<value>[^=>~].*)\Z", re.DOTALL)
_ANNOTATED = re.compile(r"(?P<name>[^\W\d]\w*)\s*(?::[^=]+)?=\s*(?P<value>[^=].*)\Z", re.DOTALL)
_JAVA = re.compile(
    rf"(?:final\s+)?(?:[A-Za-z_][\w.]*(?:<[^=]*>)?(?:\[\])*\s+)?{_NAME}(?:\[\])*\s*=\s*(?P<value>[^=].*)\Z", re.DOTALL
)
_R = re.compile(r"`?(?P<name>[A-Za-z.][\w.]*)`?\s*(?:<<?-|=)\s*(?P<value>[^=].*)\Z", re.DOTALL)
_R_RIGHT = re.compile(r"(?P<value>.+?)\s*->>?\s*(?P<name>[A-Za-z.][\w.]*)\Z", re.DOTALL)
_BASH = re.compile(
    r"(?:(?:export|readonly|typeset|declare)\s+(?:-\w+\s+)*)?(?P<name>[A-Za-z_]\w*)=(?P<value>.*)\Z", re.DOTALL
)
_BASH_DEFAULT = re.compile(r":\s+\"?\$\{(?P<name>[A-Za-z_]\w*):?=(?P<value>.*)\}\"?\Z", re.DOTALL)

PATTERNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "r": (_R, _R_RIGHT),
    "bash": (_BASH, _BASH_DEFAULT),
    "sh": (_BASH, _BASH_DEFAULT),
    "julia": (_PLAIN,),
    "octave": (_PLAIN,),
    "matlab": (_PLAIN,),
    "javascript": (_TYPED, _PLAIN),
    "typescript": (_TYPED, _PLAIN),
    "kotlin": (_TYPED, _PLAIN),
    "scala": (_TYPED, _PLAIN),
    "java": (_JAVA,),
}
"""Language → what an assignment looks like in it, tried in this order."""

_HASH = {"r", "bash", "sh", "julia", "python"}
_PERCENT = {"octave", "matlab"}


def assignments(source: str, language: str) -> dict[str, str]:
    """Names that a cell assigns at its top level → their values as source text; the last assignment wins.

    Empty for a language without patterns.
    """
    if language in ("python", "python3", "ipython"):
        return _python(source)
    found: dict[str, str] = {}
    for statement in statements(source, language):
        for pattern in PATTERNS.get(language, ()):
            if match := pattern.match(statement):
                found[match["name"]] = match["value"].strip()
                break
    return found


def is_open(source: str, language: str) -> bool:
    """Whether a cell may set names that can't be read off it: a star import, ``%run``, ``source``, ``load``."""
    if language in ("python", "python3", "ipython"):
        return re.search(r"^\s*(?:from\s+\S+\s+import\s+\*|%run\b|%load\b|exec\()", source, re.MULTILINE) is not None
    return re.search(r"^\s*(?:source\s*\(?|\.\s+\S|load\s*\(|include\s*\()", source, re.MULTILINE) is not None


def _python(source: str) -> dict[str, str]:
    tree, text, magics = _parsed(source)
    if tree is None:
        lines = (_ANNOTATED.match(line) for line in statements(source, "python"))
        return {match["name"]: match["value"].strip() for match in lines if match}
    found: dict[str, str] = {}
    for name, value in _targets(tree.body):
        found[name] = (ast.get_source_segment(text, value) or "") if value is not None else ""
    return found | {name: value for name, value in magics.items() if name in found}


def _parsed(source: str) -> tuple[ast.Module | None, str, dict[str, str]]:
    """The syntax tree; if the source is no plain Python, that of the source with its magics blanked."""
    magics: dict[str, str] = {}
    try:
        return ast.parse(source), source, magics
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    lines = source.split("\n")
    for index, line in enumerate(lines):
        if match := _MAGIC_ASSIGNMENT.match(line):
            magics[match["name"]] = match["value"].strip()
            lines[index] = f"{match['indent']}{match['name']} = None"
        elif match := _MAGIC_LINE.match(line):
            lines[index] = f"{match['indent']}pass"
    text = "\n".join(lines)
    try:
        return ast.parse(text), text, magics
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, text, magics


def _targets(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    """Names and values of the assignments in a module, also below ``if``, ``try``, ``with`` and loops."""
    for statement in body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from _unpacked(target, statement.value)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value
        elif isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for part in ("body", "orelse", "finalbody"):
                yield from _targets(getattr(statement, part, []))
            for handler in getattr(statement, "handlers", []):
                yield from _targets(handler.body)


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        for index, element in enumerate(target.elts):
            pair = len(values) == len(target.elts)
            yield from _unpacked(element, values[index] if pair else value)


def statements(source: str, language: str) -> Iterator[str]:
    """The statements of a cell, comments dropped: split at line ends and semicolons outside quotes and brackets.

    A reading good enough for a parameters cell, not a parser: heredocs and regular expressions aren't known.
    """
    text: list[str] = []
    quote, depth, index = "", 0, 0
    while index < len(source):
        character, previous = source[index], source[index - 1] if index else "\n"
        if quote:
            step = 2 if character == "\\" and not (language in ("bash", "sh") and quote == "'") else 1
            text.append(source[index : index + step])
            quote = "" if character == quote else quote
        elif end := _comment_end(source, index, previous, language):
            index = end
            continue
        elif character == "\\" and language in ("bash", "sh"):
            step = 2
            text.append(source[index : index + 2])
        else:
            step = 1
            if character in "\"'`" and not (language in _PERCENT and character == "'" and _is_operand(previous)):
                quote = character
            depth = max(0, depth + (character in "([{") - (character in ")]}"))
            if character in ";\n" and depth == 0:
                yield "".join(text).strip()
                text = []
            else:
                text.append(character)
        index += step
    yield "".join(text).strip()


def _comment_end(source: str, index: int, previous: str, language: str) -> int:
    """Where the comment that begins at ``index`` ends, or 0 if none begins there."""
    if language in _HASH | _PERCENT:
        starts = source[index] == "#" or (language in _PERCENT and source[index] == "%")
        if starts and (language not in ("bash", "sh") or previous.isspace()):
            end = source.find("\n", index)
            return end if end >= 0 else len(source)
        return 0
    if source.startswith("//", index):
        end = source.find("\n", index)
        return end if end >= 0 else len(source)
    if source.startswith("/*", index):
        end = source.find("*/", index)
        return end + 2 if end >= 0 else len(source)
    return 0


def _is_operand(character: str) -> bool:
    """Whether a quote after this character is Octave's transpose."""
    return character.isalnum() or character in "_)]}.'"
