"""Where packages come from on this machine: pip's configuration, said in uv's words.

uv reads neither ``PIP_*`` variables nor ``pip.conf``. Where it has no index configured of its own, what pip was told
counts, so that a machine behind a mirror, or without a network, needs to be set up once only.
"""

from __future__ import annotations

import configparser
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_UV_VARIABLES = ("DEFAULT_INDEX", "INDEX", "INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX")
_UV_RESOLUTION = frozenset(
    {"UV_CONSTRAINT", "UV_EXCLUDE_NEWER", "UV_INDEX_STRATEGY", "UV_OVERRIDE", "UV_PRERELEASE", "UV_RESOLUTION"}
)
_UV_SETTINGS = frozenset({"index", "index-url", "extra-index-url", "find-links", "no-index"})
_PIP_SETTINGS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
)
_TRUE = frozenset({"1", "true", "yes", "on"})


def uv_index_environment(
    environ: Mapping[str, str], beside: Mapping[str, Any], *, has_index: bool = False
) -> dict[str, str]:
    """Variables to add for uv, so that it finds packages where pip would.

    `beside` are uv's settings next to the environment file; `has_index` says that the file itself names the index
    to use. What is set for uv already is never overridden.
    """
    pip = pip_settings(environ)
    found: dict[str, str] = {}
    if pip.get("cert"):
        found["SSL_CERT_FILE"] = pip["cert"]
    if pip.get("client-cert"):
        found["SSL_CLIENT_CERT"] = pip["client-cert"]
    if pip.get("timeout", "").isdecimal():
        found["UV_HTTP_TIMEOUT"] = pip["timeout"]
    if pip.get("trusted-host"):
        found["UV_INSECURE_HOST"] = " ".join(pip["trusted-host"].split())
    if pip.get("proxy") and not any(name.lower() in ("https_proxy", "all_proxy") for name in environ):
        found["ALL_PROXY"] = pip["proxy"]
    if not _has_own_index(environ, beside):
        found |= _indexes(pip, has_index)
    return {name: value for name, value in found.items() if name not in environ}


def index_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What decides from where packages come on this machine, beside the environment file itself: for a digest."""
    own = {f"UV_{name}": environ[f"UV_{name}"] for name in _UV_VARIABLES if environ.get(f"UV_{name}")}
    indexes = uv_index_environment(environ, {})
    resolution = {name: value for name, value in environ.items() if name in _UV_RESOLUTION and value}
    return {**indexes, **own, **resolution}


def _indexes(pip: Mapping[str, str], has_index: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    if pip.get("index-url") and not has_index:
        found["UV_DEFAULT_INDEX"] = pip["index-url"]
    if pip.get("extra-index-url"):
        found["UV_EXTRA_INDEX_URL"] = " ".join(pip["extra-index-url"].split())
        # pip takes the best version that any index has; uv by default only looks at the first that has the name.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if pip.get("find-links"):
        found["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
    if pip.get("no-index", "").lower() in _TRUE:
        found["UV_NO_INDEX"] = "1"
    return found


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings about indexes, as pip itself would find them: files from far to near, then ``PIP_*``."""
    found: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    for path in _pip_files(environ):
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip will say so itself when someone uses it
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    for name in _PIP_SETTINGS:
        value = environ.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            found[name] = value
    if "timeout" not in found and environ.get("PIP_DEFAULT_TIMEOUT"):
        found["timeout"] = environ["PIP_DEFAULT_TIMEOUT"]
    return {name: found[name] for name in _PIP_SETTINGS if found.get(name)}


def _pip_files(environ: Mapping[str, str]) -> Iterator[Path]:
    special = environ.get("PIP_CONFIG_FILE")
    if special == os.devnull:
        return
    for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    if home := environ.get("HOME"):
        yield Path(home, ".pip", "pip.conf")
        yield Path(environ.get("XDG_CONFIG_HOME") or Path(home, ".config"), "pip", "pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if special:
        yield Path(special)


def _has_own_index(environ: Mapping[str, str], beside: Mapping[str, Any]) -> bool:
    """Whether uv was told where packages come from: by variables, by its files, or beside the environment file."""
    if any(environ.get("UV_" + name) for name in _UV_VARIABLES):
        return True
    settings = [beside]
    home = environ.get("HOME", "")
    config_home = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    own = environ.get("UV_CONFIG_FILE")
    for path in [own] if own else [f"{config_home}/uv/uv.toml", "/etc/uv/uv.toml", "/etc/xdg/uv/uv.toml"]:
        try:
            settings.append(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return any(_UV_SETTINGS & (set(table) | set(table.get("pip") or {})) for table in settings)
