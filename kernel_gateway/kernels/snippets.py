"""Code that kernels are sent on our behalf, and around users' cells.

None of it leaves a name in the user's namespace or counts as a cell.
"""

from __future__ import annotations

import re

FOLDER_VARIABLE = "KERNEL_GATEWAY_KERNEL_FOLDER"
"""Environment variable of a kernel: its private folder, where snippets leave notes for `failures`."""

EXIT_NOTE = "exit"
ERROR_NOTE = "error"

SQL_SETUP = """\
get_ipython().run_line_magic("load_ext", "sql")
get_ipython().run_line_magic("config", "SqlMagic.displaycon = False")
get_ipython().run_line_magic("config", "SqlMagic.feedback = 0")
get_ipython().run_line_magic("sql", __import__("os").environ.get("DATABASE_URL", "duckdb://"))
"""
"""Connects jupysql to ``DATABASE_URL``, else to an in-memory DuckDB."""

BASH_SETUP = f"""trap 'echo $? > "${FOLDER_VARIABLE}/{EXIT_NOTE}"' EXIT"""
"""Notes the code that bash ends with, which the kernel itself does not tell."""


def sql_cell(code: str) -> str:
    """A SQL cell as ipython takes it; one that is a magic already stays as it is."""
    return code if code.lstrip().startswith("%") else "%%sql\n" + code


R_SETUP = f"""\
local({{
    noting <- function(original) function(save = "default", status = 0, runLast = TRUE) {{
        cat(status, file = file.path(Sys.getenv("{FOLDER_VARIABLE}"), "{EXIT_NOTE}"))
        original(save, status, runLast)
    }}
    base <- baseenv()
    for (name in c("quit", "q")) {{
        unlockBinding(name, base)
        assign(name, noting(get(name, envir = base)), envir = base)
        lockBinding(name, base)
    }}
}})
"""
"""Notes the status that a program quits with, which IRkernel does not pass on."""


def bash_cell(code: str) -> str:
    """A bash cell whose commands find an empty stdin, as in any CI step; else ``read`` would wait for ever.

    The group is parsed whole before it runs. Cells that change how bash parses, and those that bash_kernel
    refuses by themselves, go as they are.
    """
    if re.search(r"\b(alias|extglob)\b", code) or code.rstrip().endswith("\\"):
        return code
    return f"{{ :\n{code}\n}} </dev/null"


def octave_cell(code: str) -> str:
    """An Octave cell that leaves a note when it fails, since the kernel's reply is always ok.

    The cell's text becomes a string for ``eval``, which catches errors of parsing too.
    """
    text = code.replace("\\", "\\\\").replace('"', '\\"').replace("\r\n", "\n").replace("\n", "\\n")
    note = (
        f"fid__ = fopen (strcat (getenv ('{FOLDER_VARIABLE}'), '/{ERROR_NOTE}'), 'w');"
        " fprintf (fid__, '%s\\n%s', lasterror ().identifier, lasterror ().message); fclose (fid__); clear fid__;"
        " rethrow (lasterror ());"
    )
    catch = note.replace("\\", "\\\\").replace('"', '\\"')
    return f'eval ("{text}", "{catch}");'
