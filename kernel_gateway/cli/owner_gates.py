"""What the owner of a source has laid down beside it: the gates of a ``gates.yaml``."""

from __future__ import annotations

from pathlib import Path

from ..errors import GateError, UsageError

GATES_FILE = "gates.yaml"
"""Name of the file, in the folder of the source."""


def gates_beside(source: Path | None) -> tuple[str, ...]:
    """The gates in the `GATES_FILE` beside a source, none without such a file or for a source that is no file.

    `kernel-gateway run` adds them to those of ``--require``, for a run here as for one on a gateway. Raises
    `UsageError` that names the file, the line and the column of whatever is wrong with it.
    """
    if source is None:
        return ()
    file = source.parent / GATES_FILE
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise UsageError(f"{file}, the gates beside the source, can't be read: {error.strerror}.") from None
    from ..gates import parse_gate
    from ..sources import read_gates_file

    gates = read_gates_file(content, str(file), source.name)
    for gate in gates:
        try:
            parse_gate(gate.expression)
        except GateError as error:
            raise GateError(f"{gate.place}: {error}", field="require") from None
    return tuple(gate.expression for gate in gates)
