"""Reads a ``triggers.yaml``. Whatever is wrong in it is one sentence with the line, the trigger and the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from ...errors import UsageError
from . import values
from .plan import Condition, Either, Every, Limits, Plan, Trigger, Watch
from .sources import KINDS

MOST_BYTES = 1 << 20
DEEPEST = 20
"""Levels of ``any`` and ``all``."""

_TOP = ("jenkins", "user", "triggers")
_LIMITS: dict[str, values.Converter] = {
    "minimal_interval": values.duration,
    "quiet_period": values.duration,
    "max_per_day": values.whole(1),
    "fire_on_first": values.boolean,
    "errors_after": values.whole(1),
}
_TRIGGER = {"name", "job", "parameters", "when", *_LIMITS}


def read_file(path: Path) -> Plan:
    """The plan in a file. Raises `UsageError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", field="file") from error
    return read_plan(content, str(path), str(path.absolute().parent))


def read_plan(content: bytes, file: str, folder: str) -> Plan:
    """The plan in a file's content; ``file`` names it in errors. Raises `UsageError`. Pure."""
    return _Reader(file, folder).plan(content)


class _Mapping(dict[Any, Any]):
    """A mapping of the file. ``line``: where it begins; ``lines``: those of its keys."""

    line: int
    lines: Mapping[Any, int]


class _List(list[Any]):
    """A list of the file. ``lines``: where its parts begin."""

    lines: list[int]


class _Reader:
    def __init__(self, file: str, folder: str) -> None:
        self._file = file
        self._folder = folder
        self._trigger = ""

    def plan(self, content: bytes) -> Plan:
        document = self._document(content)
        if not isinstance(document, _Mapping):
            self._fail(1, "the file must hold a list of triggers below the key 'triggers'")
        self._known(document, _TOP)
        named = {name: self._convert(document, name, values.text) for name in ("jenkins", "user") if name in document}
        entries = document.get("triggers")
        if not isinstance(entries, _List) or not entries:
            self._fail(document.lines.get("triggers", 1), "'triggers' must be a list of at least one trigger")
        triggers: list[Trigger] = []
        for entry, line in zip(entries, entries.lines, strict=True):
            self._trigger = ""
            trigger = self._entry(entry, line)
            if any(trigger.name == other.name for other in triggers):
                self._fail(line, "there is a trigger of this name already; each needs its own")
            triggers.append(trigger)
        return Plan(self._folder, tuple(triggers), **named)

    def _entry(self, entry: Any, line: int) -> Trigger:
        if not isinstance(entry, _Mapping):
            self._fail(line, f"a trigger is {values.shown(entry)}; it must hold 'name', 'job' and 'when'")
        name = entry.get("name")
        self._trigger = name if isinstance(name, str) else ""
        self._known(entry, _TRIGGER)
        for needed in ("name", "job", "when"):
            if needed not in entry:
                self._fail(line, f"the trigger has no {needed!r}")
        limits = {
            field.name: self._convert(entry, field.name, _LIMITS[field.name])
            for field in fields(Limits)
            if field.name in entry
        }
        when = entry["when"]
        condition = (
            Either(self._conditions("when", entry, 0))
            if isinstance(when, _List)
            else self._condition(when, entry.lines["when"], 0)
        )
        parameters = self._convert(entry, "parameters", values.parameters) if "parameters" in entry else {}
        for reserved in ("TRIGGER_ID", "REASON"):
            if reserved in parameters:
                self._fail(
                    entry.lines["parameters"], f"parameters: {reserved} is set by the check itself; leave it out"
                )
        return Trigger(
            self._convert(entry, "name", values.text),
            self._convert(entry, "job", values.job).strip("/"),
            condition,
            parameters,
            Limits(**limits),
        )

    def _conditions(self, name: str, entry: _Mapping, depth: int) -> tuple[Condition, ...]:
        parts = entry[name]
        if not isinstance(parts, _List) or not parts:
            self._fail(entry.lines[name], f"{name!r} must be a list of at least one condition")
        return tuple(self._condition(part, line, depth) for part, line in zip(parts, parts.lines, strict=True))

    def _condition(self, entry: Any, line: int, depth: int) -> Condition:
        if not isinstance(entry, _Mapping):
            self._fail(line, f"a condition is {values.shown(entry)}; it must be 'KIND: WHAT', e.g. 'data: train.csv'")
        if depth > DEEPEST:
            self._fail(line, f"conditions are nested more than {DEEPEST} levels deep")
        named = [name for name in entry if name in KINDS or name in ("any", "all")]
        if len(named) != 1:
            unknown = next(map(str, entry), "")
            self._fail(
                line,
                f"one condition holds {' and '.join(map(repr, named))}; begin each with a dash of its own"
                if named
                else f"there is no kind of condition {unknown!r}{values.nearest(unknown, [*KINDS, 'any', 'all'])}",
            )
        (kind,) = named
        if kind in ("any", "all"):
            self._known(entry, {kind})
            parts = self._conditions(kind, entry, depth + 1)
            return Either(parts) if kind == "any" else Every(parts)
        return self._watch(kind, entry, line)

    def _watch(self, kind: str, entry: _Mapping, line: int) -> Watch:
        schema = KINDS[kind].schema
        self._known(entry, {kind, *schema.fields}, f"{kind}: ")
        for needed in schema.needed:
            if needed not in entry:
                self._fail(line, f"{kind}: {needed!r} is missing")
        if schema.one_of and sum(name in entry for name in schema.one_of) != 1:
            self._fail(line, f"{kind}: give one of {', '.join(map(repr, schema.one_of))}")
        settings = {kind: self._convert(entry, kind, schema.main)}
        for name, convert in schema.fields.items():
            if name in entry:
                settings[name] = self._convert(entry, name, convert, f"{kind}: ")
        try:
            title = KINDS[kind].title(settings)
        except ValueError as error:
            self._fail(line, f"{kind}: {error}")
        return Watch(kind, settings, title, line)

    def _convert(self, entry: _Mapping, name: str, convert: values.Converter, where: str = "") -> Any:
        try:
            return convert(entry[name])
        except ValueError as error:
            self._fail(entry.lines[name], f"{where}{name!r} {error}")

    def _known(self, entry: _Mapping, known: Any, where: str = "") -> None:
        for name in entry:
            if name not in known:
                self._fail(
                    entry.lines[name], f"{where}there is no field {str(name)!r}{values.nearest(str(name), known)}"
                )

    def _document(self, content: bytes) -> Any:
        import yaml

        if len(content) > MOST_BYTES:
            raise UsageError(f"{self._file} is larger than {MOST_BYTES:,} bytes.", field="file")

        class Loader(yaml.SafeLoader):
            """Keeps lines, takes parameters as they are written, and refuses a key that comes twice."""

        def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> _Mapping:
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            names = [key.value for key in keys]  # before those that << merges, which these replace
            if double := next((key for place, key in enumerate(keys) if key.value in names[:place]), None):
                self._fail(double.start_mark.line + 1, f"{double.value!r} stands there twice")
            loader.flatten_mapping(node)
            for key, value in node.value:
                if key.value == "parameters" and isinstance(value, yaml.MappingNode):
                    _as_written(value)
            found = _Mapping(loader.construct_mapping(node, deep=True))
            found.line = node.start_mark.line + 1
            found.lines = {loader.construct_object(key): key.start_mark.line + 1 for key, _ in node.value}
            return found

        def sequence(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> _List:
            found = _List(loader.construct_sequence(node, deep=True))
            found.lines = [part.start_mark.line + 1 for part in node.value]
            return found

        Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
        Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG, sequence)
        try:
            return yaml.load(content.decode("utf-8-sig"), Loader=Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._fail(mark.line + 1 if mark else 1, f"this is no YAML: {error.problem or error.context}")
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
            self._fail(1, f"this is no YAML: {' '.join(str(error).split())[:200]}")

    def _fail(self, line: int, reason: str) -> NoReturn:
        where = f"{self._file}, line {line}" + (f", trigger {self._trigger!r}" if self._trigger else "")
        reason = reason.removesuffix(".")
        raise UsageError(f"{where}: {reason}{'' if reason.endswith('?') else '.'}", field="file")


def _as_written(node: Any) -> None:
    """Have numbers and dates of a mapping stay the texts that they are: Jenkins' parameters are texts, and 1.10, 007,
    12:30 and 2026-11-21 would come out otherwise.
    """
    for _, value in node.value:
        if value.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"):
            value.tag = "tag:yaml.org,2002:str"
