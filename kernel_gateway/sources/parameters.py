"""Parameters into a program, by papermill's conventions.

A cell tagged ``parameters`` holds the defaults; the values given stand in a cell tagged
``injected-parameters`` right after it. See https://papermill.readthedocs.io/en/latest/usage-parameterize.html.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import ParameterError
from .assignments import assignments, is_open
from .document import free_id
from .program import Cell, Program
from .titles import first_line
from .values import parse_parameters

__all__ = ["known_parameters", "parameterize", "parameters_cell", "parse_parameters"]

PARAMETERS, INJECTED = "parameters", "injected-parameters"
_FLOAT_LITERAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?[dDfF]?\Z")


def parameters_cell(program: Program) -> Cell | None:
    """The cell with the defaults: the first one tagged ``parameters``. The runner takes its kernel from here."""
    return next((cell for cell in program.cells if cell.type == "code" and PARAMETERS in cell.tags), None)


def known_parameters(program: Program, language: str) -> dict[str, str]:
    """Names that the parameters cell assigns → their defaults as source text; empty without such a cell.

    ``language`` is the cell's, as its kernelspec spells it.
    """
    cell = parameters_cell(program)
    return assignments(cell.source, language.lower()) if cell is not None else {}


def parameterize(program: Program, parameters: Mapping[str, Any], *, language: str, kernel_name: str) -> Program:
    """The program with ``parameters`` (JSON values) written into it; the given program stays as it is.

    ``language`` and ``kernel_name`` are those of the parameters cell, or the program's without one. The new
    cell replaces an earlier injected one, else follows the parameters cell, else comes first. Without
    parameters the program is returned unchanged. Raises `ParameterError` for a name that the parameters cell
    doesn't assign, and for a name or value that can't be written in the language.
    """
    if not parameters:
        return replace(program, parameters={})
    known = known_parameters(program, language)
    defaults = parameters_cell(program)
    if known and defaults is not None and not is_open(defaults.source, language.lower()):
        _check_known(parameters, known)
    _check_assignable(parameters, defaults, language)
    source = _code(parameters, known, language, kernel_name)
    cells = list(program.cells)
    earlier = next((index for index, cell in enumerate(cells) if INJECTED in cell.tags), None)
    if earlier is not None:
        replaced: Cell | None = cells.pop(earlier)
        position = earlier
    else:
        replaced = None
        position = next((index + 1 for index, cell in enumerate(cells) if cell is defaults), 0)
    home = defaults if defaults is not None else replaced
    cells.insert(position, _injected(source, replaced, home, {cell.id for cell in cells}, language))
    return replace(program, cells=cells, parameters=dict(parameters))


def _injected(source: str, replaced: Cell | None, home: Cell | None, taken: set[str], language: str) -> Cell:
    """The cell that carries the values. It keeps the id of the one it replaces and runs on ``home``'s kernel."""
    metadata: dict[str, Any] = {"tags": [INJECTED]}
    if language.lower() == "sql":
        metadata["language"] = "python"
    return Cell(
        id=replaced.id if replaced is not None else free_id(INJECTED, taken),
        type="code",
        source=source,
        kernel=home.kernel if home is not None else None,
        title=first_line(source, language.lower()),
        metadata=metadata,
    )


def _check_known(parameters: Mapping[str, Any], known: Mapping[str, str]) -> None:
    unknown = [name for name in parameters if name not in known]
    if not unknown:
        return
    listed = ", ".join(f"{name} (default {_short(value)})" if value else name for name, value in known.items())
    hints = []
    for name in unknown:
        lower = {candidate.lower(): candidate for candidate in known}
        close = difflib.get_close_matches(name.lower(), list(lower), n=1)
        hints.append(f"{name!r}" + (f" (did you mean {lower[close[0]]!r}?)" if close else ""))
    what = "Unknown parameter" if len(unknown) == 1 else "Unknown parameters"
    raise ParameterError(f"{what} {', '.join(hints)}. The source knows: {listed}.", field="parameters")


def _check_assignable(parameters: Mapping[str, Any], defaults: Cell | None, language: str) -> None:
    """Refuses names that the parameters cell makes constant, where a kernel takes no second declaration."""
    word = {"javascript": "const", "typescript": "const", "bash": "readonly"}.get(language.lower())
    if word is None or defaults is None:
        return
    for name in parameters:
        if re.search(rf"^\s*{word}\s+(?:-\w+\s+)*{re.escape(name)}\b", defaults.source, re.MULTILINE):
            raise ParameterError(
                f"The parameters cell declares {name!r} with `{word}`, so it can't be given another value."
                f" Declare it {'with `let`' if word == 'const' else 'without it'}.",
                field=name,
            )


def _short(default: str) -> str:
    line = " ".join(default.split())
    return line if len(line) <= 40 else line[:39] + "…"


def _code(parameters: Mapping[str, Any], known: Mapping[str, str], language: str, kernel_name: str) -> str:
    from . import translators

    translator = translators.find_translator(kernel_name, language)
    if translator is None:
        listed = ", ".join(sorted(translators.TRANSLATORS))
        raise ParameterError(
            f"Parameters can't be written in {language!r}, the language of the kernel {kernel_name!r}."
            f" Languages that can take parameters: {listed}.",
            field="parameters",
        )
    values = dict(parameters)
    for name, value in values.items():
        assignable = getattr(translator, "assignable", str.isidentifier)
        if not assignable(name):
            raise ParameterError(f"{name!r} can't be the name of a variable in {language}.", field=name)
        if language.lower() in translators.STATICALLY_TYPED and type(value) is int:
            values[name] = float(value) if _FLOAT_LITERAL.match(known.get(name, "")) else value
        try:
            translator.codify({name: values[name]})
        except (ValueError, NotImplementedError, OverflowError, RecursionError) as error:
            raise ParameterError(
                f"The parameter {name!r} can't be written in {language}: {error}.", field=name
            ) from None
    return str(translator.codify(values, "Parameters"))
