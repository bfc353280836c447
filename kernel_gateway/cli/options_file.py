"""``kernel-gateway run --options FILE``: options from a file, for programs that call the command.

What a user typed into a build step stands in such a file rather than on a command line: no shell reads it, it does not
show in process lists, and it may be long. The names are the long options' without their dashes; docs/command-line.md
describes them. Each value becomes the argument that it stands for, so that both ways mean and check the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from ..errors import GatewayError

META = "kernel_gateway.options_file"
"""Name in a context's ``meta`` under which the command finds the file that it was given."""

OWN_NAMES = ("source", "code", "code-file", "params", "step", "try")
"""Names in a file that are no long options."""

_NO_OPTIONS = ("--help", "--options", "--params")


@dataclass(frozen=True)
class OptionsFile:
    """What a file of options holds."""

    path: Path
    parameters: Mapping[str, Any]
    """Of ``params`` as a mapping: JSON values, taken as they are."""
    pairs: tuple[tuple[str, str], ...]
    """Of ``params`` as a list of ``NAME=VALUE``: typed as those of ``-p`` are."""
    step: str | None
    """Which step of its build this is; see `kernel_gateway.cli.step`."""
    attempt: int | None
    """Which try of the step, from 1 on, if its caller counts those whose end it saw."""
    options: Mapping[str, Any]
    """The rest, checked."""


class CommandWithFile(click.Command):
    """A command whose options may come from a file. Those of the command line count more, or are added."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        _refuse_joined(args, ctx)
        given = self.make_parser(ctx).parse_args(list(args))[0]
        name = given.get("options_file")
        if isinstance(name, str):
            file = ctx.meta[META] = _read(Path(name), self, ctx)
            has_source = any(isinstance(given.get(source), str) for source in ("source", "code"))
            args = [*_arguments(file.options, has_source), *args]
        return super().parse_args(ctx, args)


def _refuse_joined(args: list[str], ctx: click.Context) -> None:
    """Say it where ``-p epochs=20`` is meant to be ``-p epochs 20``: left alone, the next word would be the value."""
    for option, word in pairwise(args):
        if option == "-p" and (joined := re.match(r"([^\W\d]\w*)=", word)):
            name, value = joined[1], word[joined.end() :]
            raise click.BadParameter(f"write name and value as two words: -p {name} {value}", ctx, param_hint="'-p'")


def options_file(ctx: click.Context) -> OptionsFile | None:
    """The file that the command was given, if it was."""
    file = ctx.meta.get(META)
    assert file is None or isinstance(file, OptionsFile)
    return file


def _read(path: Path, command: click.Command, ctx: click.Context) -> OptionsFile:
    """Raises `click.BadParameter` for a file that can't be read, or that holds what is no option."""

    def refuse(problem: str) -> click.BadParameter:
        return click.BadParameter(f"{path}: {problem}", ctx, param_hint="'--options'")

    try:
        content = _mapping(path.read_bytes())
    except OSError as error:
        raise refuse(f"it can't be read: {error.strerror}.") from None
    except (GatewayError, ValueError) as error:
        raise refuse(str(error)) from None
    content = {name: value for name, value in content.items() if value is not None}
    known = _long_options(command)
    for name, value in content.items():
        if name not in known and name not in OWN_NAMES:
            import difflib

            close = difflib.get_close_matches(name, [*known, *OWN_NAMES], n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" There are {', '.join(sorted([*known, *OWN_NAMES]))}."
            raise refuse(f"there is no option {name!r}.{hint}")
        if name in known and (kind := _mismatch(known[name], value)):
            raise refuse(f"{name!r} must be {kind}, not {_kind(value)}.")
    return _checked(path, content, refuse)


def _mapping(content: bytes) -> dict[str, Any]:
    """JSON is read as such, which is fast however long it is; anything else is YAML. Raises `GatewayError`."""
    if content.lstrip().startswith(b"{"):
        try:
            read = json.loads(content)
            json.dumps(read.get("params"), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a parameter holds text that isn't valid Unicode.") from None
        except (ValueError, RecursionError):
            pass  # YAML may begin like that too, and else says better what is wrong
        else:
            return dict(read)
    from ..sources.values import parse_mapping

    return parse_mapping(content, "The file of options")


def _checked(path: Path, content: dict[str, Any], refuse: Callable[[str], click.BadParameter]) -> OptionsFile:
    parameters, pairs = _parameters(content.pop("params", {}), refuse)
    for name in ("source", "code", "code-file", "step"):
        if not isinstance(content.get(name, ""), str):
            raise refuse(f"{name!r} must be a text, not {_kind(content[name])}.")
    if len(sources := [name for name in ("source", "code", "code-file") if name in content]) > 1:
        raise refuse(f"it names more than one source: {' and '.join(map(repr, sources))}. Leave all but one out.")
    if "code-file" in content:
        file = path.parent / content.pop("code-file")
        try:
            content["code"] = file.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise refuse(f"'code-file': {file} can't be read: {error.strerror}.") from None
    step, attempt = content.pop("step", None), content.pop("try", None)
    if attempt is not None and (not isinstance(attempt, int) or isinstance(attempt, bool) or attempt < 1):
        raise refuse(f"'try' must be a whole number from 1 on, not {_kind(attempt)}.")
    return OptionsFile(path, parameters, pairs, step, attempt, content)


def _parameters(
    given: Any, refuse: Callable[[str], click.BadParameter]
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    if isinstance(given, dict):
        return given, ()
    if not isinstance(given, list) or not all(isinstance(item, str) and "=" in item for item in given):
        raise refuse("'params' must be a mapping of names to values, or a list of texts such as 'epochs=20'.")
    return {}, tuple((name, value) for name, _, value in (item.partition("=") for item in given))


def _long_options(command: click.Command) -> dict[str, click.Option]:
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {
        word[2:]: option
        for option in options
        for word in option.opts
        if word.startswith("--") and word not in _NO_OPTIONS
    }


def _mismatch(option: click.Option, value: Any) -> str | None:
    """What the value of an option must be, in words, if this one is something else."""
    if option.is_flag:
        return None if isinstance(value, bool) else "true or false"
    if option.multiple:
        fits = isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))
        return None if fits else "a text or a list of texts"
    if isinstance(option.type, click.types.IntParamType):
        return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if isinstance(option.type, click.types.FloatParamType):
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    if option.type.name == "size" and isinstance(value, int) and not isinstance(value, bool):
        return None
    return None if isinstance(value, str) else "a text"


def _kind(value: Any) -> str:
    names = {bool: "true or false", dict: "a mapping", list: "a list", str: "a text"}
    return names.get(type(value)) or f"the number {value}"


def _arguments(options: Mapping[str, Any], has_source: bool) -> Iterator[str]:
    """The command line that stands for the options; a source only where there is none on the real one."""
    for name, value in options.items():
        if name == "source":
            if not has_source:
                yield f"./{value}" if value.startswith("-") and value != "-" else value
        elif name == "code":
            if not has_source:
                yield from ("-c", value)
        elif isinstance(value, bool):
            if value:
                yield f"--{name}"
        else:
            for item in value if isinstance(value, list) else [value]:
                yield f"--{name}={item}"
