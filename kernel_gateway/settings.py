"""What can be set: the options of one run, and the limits of the program itself.

`RunOptions` is one run as a user asked for it (section 4 of the command line). `Settings` are limits that
seldom change; each is also the environment variable ``KERNEL_GATEWAY_<NAME>``. Nothing here reads files
or the environment: the command line hands the mapping in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import UsageError

PREFIX = "KERNEL_GATEWAY_"
"""Prefix of the environment variables that carry settings."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One run as asked for. Seconds and counts; None means no limit or the default."""

    name: str
    kernel: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    cell_timeout: float | None = None
    gpus: int = 0
    label: str | None = None
    env_file: str | None = None
    artifacts: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    allow_errors: bool = False


_CONVERTERS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str}


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits and defaults. `from_environ` reads them; `docs/settings.md` lists them."""

    start_timeout: float = _setting(60.0, "Seconds a kernel may take from its start to its first answer.")
    answer_timeout: float = _setting(
        30.0,
        "Seconds a running kernel may take to begin with a cell, or to answer heartbeats, before it counts as dead.",
    )
    interrupt_grace: float = _setting(
        5.0, "Seconds a cell has to end after an interrupt (timeout, cancel) before its kernel is killed."
    )
    shutdown_grace: float = _setting(
        3.0, "Seconds a kernel has to end by itself (its exit handlers run) before it is killed."
    )
    console_limit: int = _setting(
        1024 * 1024, "Characters of one cell's text that the console shows in full; more is elided with a remark."
    )
    notebook_limit: int = _setting(
        8 * 1024 * 1024,
        "Characters of one cell's text that the executed notebook and the report keep; more is elided with a remark.",
    )
    progress_interval: float = _setting(
        5.0, "Seconds between two console lines of a progress bar that redraws itself with carriage returns."
    )
    labels: str = _setting("", "Comma-separated labels of this machine, for `--label`.")
    env_cache: str = _setting("", "Folder of the environments built for `--env`; default: the user's cache folder.")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from ``KERNEL_GATEWAY_*`` variables. Raises `UsageError` for a value of the wrong type."""
        values: dict[str, Any] = {}
        for setting in fields(cls):
            text = environ.get(PREFIX + setting.name.upper())
            if text is None or text == "":
                continue
            convert = _CONVERTERS[str(setting.type)]
            try:
                values[setting.name] = convert(text)
            except ValueError:
                whole = "whole " if convert is int else ""
                raise UsageError(
                    f"{PREFIX}{setting.name.upper()} is {text!r}; it must be a {whole}number.", field=setting.name
                ) from None
        return cls(**values)
