"""Gates that the owner of a source asks for: in its metadata, or in a ``gates.yaml`` beside it.

Both are lists of gates, each a text such as ``accuracy >= 0.92`` or an object ``{require: accuracy >= 0.92}``. In a
``gates.yaml`` the list may also stand below the key ``gates``, and an object may name the sources that it is for:
``{require: accuracy >= 0.92, source: train*.ipynb}``. Whether a text is a gate at all is told by `gates.parse_gate`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ..errors import GateError, SourceError

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, ScalarNode, SequenceNode

    Node = ScalarNode | SequenceNode | MappingNode

GATES_PLACE = "metadata.kernel_gateway.gates"
"""Where a notebook's own gates stand. The header of a percent script or R Markdown has them below ``jupyter``."""

MOST_GATES = 1000
"""Most gates of one source."""

MOST_BYTES = 1 << 20
"""The largest ``gates.yaml``: one of a thousand gates is much smaller, and reading YAML takes its time."""

# What an executed notebook says about its run; it may be run again.
_KNOWN = ("gates", "env", "run", "status", "reason")


def metadata_gates(metadata: dict[str, Any]) -> list[str]:
    """The gates in a source's metadata, as texts; `load_source` calls it. Raises `SourceError` that names the place."""
    place = GATES_PLACE.rpartition(".")[0]
    own = metadata.get("kernel_gateway")
    if own is None:
        return []
    if not isinstance(own, dict):
        raise SourceError(f"{place} of the source is {_shown(own)}; it must be an object.", field="source")
    if unknown := [name for name in own if name not in _KNOWN]:
        raise SourceError(
            f"{place} of the source has the key {_shown(unknown[0])}, which is not known; it may hold `gates` and "
            "`env`.",
            field="source",
        )
    gates = own.get("gates")
    if gates is None:
        return []
    if not isinstance(gates, list):
        raise SourceError(
            f"{GATES_PLACE} of the source is {_shown(gates)}; it must be a list of gates.", field="source"
        )
    if len(gates) > MOST_GATES:
        raise SourceError(f"{GATES_PLACE} of the source has {len(gates)} gates; {MOST_GATES} may be.", field="source")
    return [_metadata_gate(f"{GATES_PLACE}[{index}] of the source", gate) for index, gate in enumerate(gates)]


def _metadata_gate(place: str, gate: Any) -> str:
    if isinstance(gate, str):
        return gate
    if not isinstance(gate, dict):
        raise SourceError(f"{place} is {_shown(gate)}; a gate is a text or an object with `require`.", field="source")
    if unknown := [name for name in gate if name != "require"]:
        raise SourceError(f"{place} has the key {_shown(unknown[0])}; only `require` is known.", field="source")
    if not isinstance(gate.get("require"), str):
        raise SourceError(f"{place} has no text `require`, the gate itself.", field="source")
    expression: str = gate["require"]
    return expression


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:80]


@dataclass(frozen=True)
class FileGate:
    """A gate of a ``gates.yaml``, with its place there: ``gates.yaml, line 3, column 5``."""

    expression: str
    place: str


def read_gates_file(content: bytes, file: str, source: str) -> list[FileGate]:
    """The gates of a ``gates.yaml`` that are for one source. The command line calls it before a run.

    ``file`` is the file's path as errors show it, ``source`` the source's file name. Raises `GateError` with line and
    column for what is no YAML, and for what is no list of gates.
    """
    return list(_FileReader(file, source).gates(content))


class _FileReader:
    """Reads the nodes of a YAML document rather than its values, since only nodes know their place."""

    def __init__(self, file: str, source: str) -> None:
        self._file = file
        self._source = source

    def gates(self, content: bytes) -> Iterator[FileGate]:
        """Each gate for the source, in order."""
        node = self._document(content)
        if node is not None and node.id == "mapping":
            entries = self._entries(node, ("gates",))
            node = entries.get("gates")
        if node is None or node.tag == "tag:yaml.org,2002:null":
            return
        if node.id != "sequence":
            self._fail(node, "Here a list of gates is expected, each on a line of its own that begins with “- ”.")
        if len(node.value) > MOST_GATES:
            self._fail(node, f"There are {len(node.value)} gates; {MOST_GATES} may be.")
        for item in node.value:
            yield from self._gate(item)

    def _gate(self, node: Node) -> Iterator[FileGate]:
        if node.id != "mapping":
            yield FileGate(self._text(node), self._place(node.start_mark))
            return
        entries = self._entries(node, ("require", "source"))
        if "require" not in entries:
            self._fail(node, "This gate has no `require`, the gate itself.")
        globs = self._globs(entries["source"]) if "source" in entries else ["*"]
        if any(fnmatchcase(self._source, glob) for glob in globs):
            yield FileGate(self._text(entries["require"]), self._place(entries["require"].start_mark))

    def _globs(self, node: Node) -> list[str]:
        return [self._text(item) for item in (node.value if node.id == "sequence" else [node])]

    def _entries(self, node: Node, known: tuple[str, ...]) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in node.value:
            name = key.value if key.id == "scalar" else None
            if name not in known:
                names = " and ".join(f"`{word}`" for word in known)
                self._fail(key, f"The key {_shown(name)} is not known here; {names} may stand here.")
            if name in entries:
                self._fail(key, f"The key `{name}` stands here a second time.")
            entries[name] = value
        return entries

    def _text(self, node: Node) -> str:
        if node.id != "scalar" or node.tag != "tag:yaml.org,2002:str":
            self._fail(node, "Here a text is expected. Put it in quotes: '\"top 5\" > 0.9'.")
        text: str = node.value
        return text

    def _document(self, content: bytes) -> Node | None:
        if len(content) > MOST_BYTES:
            raise GateError(f"{self._file} is larger than {MOST_BYTES:,} bytes, the most that a list of gates may be.")
        import yaml

        try:
            node: Any = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            place = self._place(error.problem_mark) if error.problem_mark else self._file
            hint = "A gate that begins with a quote, or has “: ” or “ #” in it, goes in quotes as a whole."
            raise GateError(f"{place}: This is not YAML: {error.problem or error.context}. {hint}") from None
        # Numbers of escapes and of the YAML version, which nobody bounds, are ValueError and OverflowError.
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
            reason = " ".join(str(error).split()) if not isinstance(error, RecursionError) else "nested too deeply"
            raise GateError(f"{self._file} can't be read as YAML: {reason}.") from None
        return cast("Node | None", node)

    def _fail(self, node: Node, reason: str) -> NoReturn:
        raise GateError(f"{self._place(node.start_mark)}: {reason}")

    def _place(self, mark: Any) -> str:
        return f"{self._file}, line {mark.line + 1}, column {mark.column + 1}"
