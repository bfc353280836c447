"""Code that kernels are sent on our behalf, and around users' cells.

None of it leaves a name in the user's namespace or counts as a cell. Notes are small files in the kernel's
private folder, by which a snippet tells `failures` what the kernel's reply does not.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

FOLDER_VARIABLE = "KERNEL_GATEWAY_KERNEL_FOLDER"
"""Environment variable of a kernel: its private folder, where snippets leave notes for `failures`."""

EXIT_NOTE = "exit"
"""Note with the code that the program asked to end with, or that its interpreter ended with."""

STATUS_NOTE = "status"
"""Note with the exit status of a cell that ran to its end."""

ERROR_NOTE = "error"
"""Note of a failure: a first line with its name, then its message."""

CELL_FILE = "cell"
"""File with the source of the cell under way, for kernels that type what they are sent into a terminal."""

NO_INPUT = (
    "The cell asked for input, but nobody can answer in a CI run. "
    "Pass the value as a parameter (-p NAME VALUE) or as a secret (--secret NAME)."
)
"""What a function that asks the user says instead. Without quotes, so that it fits any language's string."""


def unix_lines(code: str) -> str:
    """Code without the carriage returns of Windows' line ends, which shells take for text."""
    return re.sub(r"\r(?=\n|\Z)", "", code)


# -- SQL ---------------------------------------------------------------------------------------------

SQL_SETUP = """\
def _kernel_gateway_setup(shell):
    import atexit, os, re
    from IPython.core.error import UsageError

    try:
        import sql
    except ImportError as error:
        text = f"SQL cells need jupysql in the kernel's environment ({error}): pip install jupysql duckdb duckdb-engine"

        def refuse(line, cell=None):
            raise UsageError(text)

        shell.register_magic_function(refuse, "line_cell", "sql")
        return

    def report(shell, kind, error, traceback, tb_offset=None):
        from sql.connection import ConnectionManager
        text = str(error).split("Original error message from DB driver:")[-1].strip()
        text = re.sub(r"\\n?\\(Background on this error at: .*?\\)", "", text)
        name = re.match(r"\\((?:\\w+\\.)*(\\w+)\\) *", text)
        text = text[name.end():] if name else text
        try:
            ConnectionManager.current._connection.rollback()
        except Exception:
            pass
        name = name.group(1) if name else "UsageError"
        shell._showtraceback(type(name, (Exception,), {}), text, [name + ": " + text])
        return []

    for line in ("load_ext sql", "config SqlMagic.displaycon = False", "config SqlMagic.feedback = 0"):
        shell.run_line_magic(*line.split(" ", 1))
    shell.set_custom_exc((UsageError,), report)
    from sql.connection import ConnectionManager
    atexit.unregister(ConnectionManager.close_all)
    atexit.register(ConnectionManager.close_all)
    shell.run_line_magic("sql", os.environ.get("DATABASE_URL", "duckdb://"))
_kernel_gateway_setup(get_ipython())
del _kernel_gateway_setup
"""
"""Connects jupysql to ``DATABASE_URL``, else to an in-memory DuckDB.

An error is told in the driver's own words, which jupysql puts below advice about its own options; the
transaction that it broke is rolled back, or every later statement would fail too. At the end the connection
is closed without a word.
"""


def sql_cell(code: str, folder: Path | None) -> str:
    """A SQL cell as ipython takes it; one that is a magic already stays as it is."""
    return code if code.lstrip().startswith("%") else "%%sql\n" + code


# -- R -----------------------------------------------------------------------------------------------

R_SETUP = f"""\
local({{
    for (frame in sys.frames()) {{
        kernel <- get0("kernel", envir = frame, inherits = FALSE)
        if (inherits(kernel, "Kernel")) break
    }}
    executor <- as.environment(kernel$executor)
    replace <- function(name, with) {{
        eval(call("$", kernel$executor, as.name(name)))  # methods come into being on first use
        if (bindingIsLocked(name, executor)) unlockBinding(name, executor)
        assign(name, with, envir = executor)
    }}
    replace("quit", function(save = "default", status = 0, runLast = TRUE) {{
        if (runLast) {{
            for (last in c(".Last", ".Last.sys")) {{
                if (exists(last, envir = .GlobalEnv, inherits = FALSE)) get(last, envir = .GlobalEnv)()
            }}
        }}
        cat(status, file = file.path(Sys.getenv("{FOLDER_VARIABLE}"), "{EXIT_NOTE}"))
        signalCondition(structure(class = c("interrupt", "condition"), list(message = "quit", call = NULL)))
    }})
    refuse <- function(...) stop("{NO_INPUT}", call. = FALSE)
    replace("readline", refuse)
    replace("get_pass", refuse)
}})
"""
"""Has ``quit`` stop the cell and note its status; IRkernel runs on behind it and forgets the status.

IRkernel puts its executor's own ``quit`` and ``readline`` into base before every cell, so that they are replaced
there. The cell is left as by an interrupt, which ``tryCatch (error = )`` does not catch.
"""


# -- bash --------------------------------------------------------------------------------------------

_BASH_TALKS = "{ [[ -t 1 && -t 252 ]]; } 252>&2 2>/dev/null || exec 251>&1 252>&2 >/dev/tty 2>&1"
"""Before each prompt: puts the cell's stdout and stderr aside and gives bash its terminal back."""

BASH_SETUP = f"""\
( declare -f | sed '/^display/,/^}}$/s/^}}$/}} >\\/dev\\/tty 2>\\&1/'; alias -p; shopt -p; set +o; declare -p PS1 PS2; \
echo "{{ exec 251>/proc/$PPID/fd/1; }} 2>/dev/null || exec 251>/dev/tty; exec 252>&251"; \
echo "set +o history +o histexpand; unset HISTFILE; bind 'set enable-bracketed-paste off'"; \
echo 'PROMPT_COMMAND="{_BASH_TALKS}"' ) >"${FOLDER_VARIABLE}/rc" 2>/dev/null; \
bash --rcfile "${FOLDER_VARIABLE}/rc" -i; {{ echo $? >"${FOLDER_VARIABLE}/{EXIT_NOTE}"; exit; }} 2>/dev/null"""
"""Runs the cells in a bash below the kernel's own, which notes the code that it ends with.

bash_kernel does not tell it. A trap could not: cells set traps themselves, and ``exec`` and signals run none.
The inner bash has file descriptors 251 and 252 for the cells' stdout and stderr, between cells only: the pipe of
the kernel's process, so that what background jobs print is not taken for the answer to a question of the kernel's,
and dropped. bash_kernel's functions for rich output print on the terminal, where it reads them.
"""


def bash_cell(code: str, folder: Path | None) -> str:
    """A bash cell as one line that sources it from a file and notes its status.

    Typed into bash's terminal, as the kernel would do, long cells take seconds, lines over 4,096 bytes are cut,
    tabs complete, ``!`` recalls history and an open quote waits for ever. Commands find an empty stdin, as in any
    CI step, and no terminal. Redirections made by ``exec`` hold for the next cell.
    """
    code = unix_lines(code)
    if folder is None:  # a kernel elsewhere, which shares no files with us
        return f"{{ :\n{code}\n}} </dev/null"
    (folder / CELL_FILE).write_text(code + "\n", encoding="utf-8", errors="surrogateescape", newline="")
    cell, status = shlex.quote(str(folder / CELL_FILE)), shlex.quote(str(folder / STATUS_NOTE))
    return f"exec >&251 2>&252 251>&- 252>&-; . {cell} </dev/null; {{ echo $? >{status}; }} 2>/dev/null"


# -- Octave ------------------------------------------------------------------------------------------

_OCTAVE_FUNCTIONS = {
    "kernel_gateway_failed__": f"""\
function kernel_gateway_failed__ ()
  err = lasterror ();
  if (strcmp (err.identifier, "KernelGateway:exit"))
    return;
  endif
  message = regexprep (err.message, "^error: ", "");
  fid = fopen (fullfile (getenv ("{FOLDER_VARIABLE}"), "{ERROR_NOTE}"), "w");
  fprintf (fid, "%s\\n%s", err.identifier, message);
  for frame = err.stack'
    if (! isempty (frame.name) && ! any (strcmp (frame.name, {{"eval", "error"}})))
      fprintf (fid, "\\n  in %s, line %d, column %d", frame.name, frame.line, frame.column);
    endif
  endfor
  fclose (fid);
endfunction
""",
    **dict.fromkeys(
        ("exit", "quit"),
        f"""\
function @NAME@ (varargin)
  status = 0;
  if (nargin > 0 && isnumeric (varargin{{1}}))
    status = varargin{{1}};
  endif
  fid = fopen (fullfile (getenv ("{FOLDER_VARIABLE}"), "{EXIT_NOTE}"), "w");
  fprintf (fid, "%d", status);
  fclose (fid);
  error ("KernelGateway:exit", "exit");
endfunction
""",
    ),
    "keyboard": f"""\
function keyboard (varargin)
  error ("KernelGateway:input", "{NO_INPUT}");
endfunction
""",
}
"""Name → a function that stands before Octave's own on its path. Functions defined in a session would be lost
by ``clear all``, with which many programs begin."""


OCTAVE_SETUP = f"""\
warning ("off", "Octave:shadowed-function"); warning ("off", "Octave:gnuplot-graphics"); \
addpath (getenv ("{FOLDER_VARIABLE}")); system ("stty -onlcr 2>/dev/null"); \
sighup_dumps_octave_core (false); sigterm_dumps_octave_core (false);"""
"""Puts our functions before Octave's own, and keeps its terminal from ending lines with carriage returns, and a
killed Octave from leaving a file in the working folder."""


def octave_cell(code: str, folder: Path | None) -> str:
    """An Octave cell as one line that evaluates it from a file and leaves a note when it fails.

    octave_kernel replies ok to everything. Typed into Octave's terminal, lines over 4,096 bytes would be cut.
    Magics, which metakernel takes from the lines at a cell's head, stay there.
    """
    if folder is None:  # a kernel elsewhere, which shares no files with us
        return code
    magics, code = split_magics(unix_lines(code))
    first = _write_octave_functions(folder)
    (folder / CELL_FILE).write_text(code, encoding="utf-8", errors="surrogateescape", newline="")
    path = str(folder / CELL_FILE).replace("'", "''")
    return f"""{magics}{"rehash (); " if first else ""}eval (fileread ('{path}'), "kernel_gateway_failed__ ();");"""


def _write_octave_functions(folder: Path) -> bool:
    """Put our functions where `OCTAVE_SETUP` has Octave look; whether they are new to it."""
    first = False
    for name, text in _OCTAVE_FUNCTIONS.items():
        file = folder / f"{name}.m"
        if not file.exists():
            file.write_text(text.replace("@NAME@", name), encoding="utf-8")
            first = True
    return first


_OCTAVE_MAGIC = re.compile(r"(?:%plot\b[^\n]*(?:\n|\Z))+")


def split_magics(code: str) -> tuple[str, str]:
    """The ``%plot`` magics at the head of an Octave cell, and the rest; any other ``%`` begins a comment."""
    found = _OCTAVE_MAGIC.match(code)
    return (found.group(), code[found.end() :]) if found else ("", code)


# -- JavaScript and TypeScript -----------------------------------------------------------------------

DENO_SETUP = f"""\
{{
    const note = (event) => {{
        event.preventDefault();
        const reason = event.reason ?? event.error;
        console.error("Uncaught", reason);
        const text = `${{reason?.name ?? "Error"}}\\n${{reason?.message ?? reason}}`;
        Deno.writeTextFileSync(Deno.env.get("{FOLDER_VARIABLE}") + "/{ERROR_NOTE}", text);
    }};
    addEventListener("error", note);
    addEventListener("unhandledrejection", note);
}}
"""
"""Notes errors that no cell catches, in timers and forgotten promises; deno's kernel would hang for ever."""

DENO_FLUSH = 'await new Promise((done) => setTimeout(done, 2)); await Deno.jupyter.broadcast("comm_info_reply", {});'
"""Every eighth output is sent after the message that the cell has ended: lets the kernel's sender come to its turn,
and queues up behind it. Clients pass over the message that is sent."""


# -- Kotlin ------------------------------------------------------------------------------------------

KOTLIN_SETUP = "%logLevel off\n0"
"""Silences the kernel's log, which goes to stderr, where the cells' own errors are printed too; and has the
compiler come up, which takes seconds, and is broken for good when a time limit interrupts it.
"""
