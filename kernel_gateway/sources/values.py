"""Parameter values as users type them: on the command line and in parameter files.

Command line values are typed as papermill types them (True, False, None, int, float), and besides as YAML
1.2 does: true, false, null, flow lists and mappings, quoted strings. What YAML 1.1 would make of ``no``,
``12:30`` or ``2024-01-31`` stays the text that was typed. Files are YAML as papermill reads it, dates as text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import ParameterError

MOST_VALUES = 1_000_000
"""Values in one parameter; a few lines of YAML can stand for any number of them, by their aliases."""

_INT = re.compile(r"[-+]?[0-9][0-9_]*\Z")
_BASED = re.compile(r"[-+]?0(?:x[0-9a-fA-F]+|o[0-7]+|b[01]+)\Z")
_FLOAT = re.compile(
    r"[-+]?(?:(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|\.?(?:inf|nan|infinity))\Z", re.IGNORECASE
)
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "TRUE": True, "FALSE": False,
          "null": None, "Null": None, "NULL": None, "~": None}  # fmt: skip


def parse_parameters(pairs: Sequence[tuple[str, str]], files: Sequence[bytes] = ()) -> dict[str, Any]:
    """Parameters from ``-p NAME VALUE`` pairs and the contents of ``--params`` files, as JSON values.

    Pairs win over files, later ones over earlier ones. NaN and the infinities are floats. The command line
    calls it once. Raises `ParameterError` for a file that is no mapping, and for values that JSON can't hold.
    """
    parameters: dict[str, Any] = {}
    for number, content in enumerate(files, start=1):
        parameters |= parse_mapping(content, "The parameter file" + ("" if len(files) == 1 else f" number {number}"))
    for name, text in pairs:
        if not name:
            raise ParameterError(f"A parameter without a name was given the value {text!r}.", field="parameters")
        parameters[name] = _json_value(typed(text), name)
    return parameters


def typed(text: str) -> Any:
    """One command line value. A text that stands for no other type, or that YAML refuses, is a string."""
    word = text.strip()
    scalar = _scalar(word)
    if not isinstance(scalar, str):
        return scalar
    if not word.startswith(("[", "{", '"', "'")):
        return text
    import yaml

    try:
        return yaml.load(word, Loader=_loader(bools=False))
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return text


def _scalar(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    try:
        if _INT.match(word):
            return int(word)
        if _BASED.match(word):
            return int(word, 0)
        if _FLOAT.match(word):
            return float(re.sub(r"\.(?=[iInN])", "", word))
    except ValueError:  # more digits than Python takes, or underscores in odd places
        pass
    return word


def parse_mapping(content: bytes, what: str) -> dict[str, Any]:
    """The mapping in a YAML or JSON file, as JSON values; ``what`` begins the sentences of errors.

    Raises `ParameterError` for a file that is no mapping of names, and for values that JSON can't hold.
    """
    import yaml

    try:
        data = yaml.load(content.decode("utf-8-sig"), Loader=_loader(bools=True))
    except UnicodeDecodeError as error:
        raise ParameterError(f"{what} is not UTF-8 text ({error}).", field="params") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ParameterError(f"{what} is neither YAML nor JSON{place}: {error.problem}.", field="params") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ParameterError(f"{what} is neither YAML nor JSON: {error}.", field="params") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ParameterError(f"{what} must be a mapping of names to values, not {_kind(data)}.", field="params")
    return {_key(name, "its names"): _json_value(value, str(name)) for name, value in data.items()}


def _json_value(value: Any, where: str, parents: tuple[int, ...] = (), left: list[int] | None = None) -> Any:
    """``value`` with nothing but JSON's types in it. Raises `ParameterError` that says where another one is, or that
    there are too many; ``left``: how many more there may be.
    """
    left = [MOST_VALUES] if left is None else left
    left[0] -= 1
    if left[0] < 0:
        name = re.split(r"[.\[]", where)[0]
        raise ParameterError(
            f"The parameter {name} holds more than {MOST_VALUES:,} values. Hand them over in a file.",
            field="parameters",
        )
    if value is None or isinstance(value, str | bool | int | float):
        if isinstance(value, str):
            _check_unicode(value, where)
        return value
    if id(value) in parents:
        raise ParameterError(f"The parameter {where} contains itself.", field="parameters")
    below = (*parents, id(value))
    if isinstance(value, list | tuple):
        return [_json_value(item, f"{where}[{index}]", below, left) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {_key(key, where): _json_value(item, f"{where}.{key}", below, left) for key, item in value.items()}
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise ParameterError(f"The parameter {where} is {_kind(value)}, which JSON can't hold.", field="parameters")


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        _check_unicode(key, where)
        return key
    if (isinstance(key, float) and not math.isfinite(key)) or isinstance(key, tuple | bytes | frozenset):
        raise ParameterError(f"The parameter {where} has a key that is not text: {key!r}.", field="parameters")
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)


def _check_unicode(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ParameterError(
            f"The parameter {where} holds text that isn't valid Unicode.", field="parameters"
        ) from None


def _kind(value: Any) -> str:
    names: dict[type, str] = {list: "a list", str: "a text", bytes: "binary data", set: "a set", dict: "a mapping"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


_LOADERS: dict[bool, Any] = {}


def _loader(*, bools: bool) -> Any:
    """PyYAML's safe loader with its number types replaced: ``1e-3`` is a float, ``12:30`` and dates are text.

    ``bools`` says whether ``yes``, ``no``, ``on`` and ``off`` are true and false, as in YAML 1.1.
    """
    if bools in _LOADERS:
        return _LOADERS[bools]
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    dropped = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp", *(() if bools else ("bool",)))}
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in entries if tag not in dropped]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def number(loader: Any, node: Any) -> Any:
        return _scalar(loader.construct_scalar(node))

    for tag, pattern, first in _implicit(bools):
        Loader.add_implicit_resolver(tag, pattern, first)
    Loader.add_constructor("!number", number)
    _LOADERS[bools] = Loader
    return Loader


def _implicit(bools: bool) -> Iterator[tuple[str, re.Pattern[str], list[str]]]:
    digits = [*"-+0123456789."]
    yield "!number", _INT, digits
    yield "!number", _BASED, digits
    yield "!number", re.compile(_FLOAT.pattern.replace(r"\.?(?:inf|nan|infinity)", r"\.(?:inf|nan)"), re.I), digits
    if not bools:
        yield "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), [*"tTfF"]
