"""Names and values as MLflow takes them: which characters and lengths it allows, and what becomes of the rest.

The rules are those of ``mlflow.utils.validation`` (3.17); they hold for metrics, parameters and tags alike.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import sys
from typing import Any

MAX_NAME = 250
MAX_PARAMETER = 6000
MAX_TAG = 8000
MAX_EXPERIMENT = 500
MAX_MODEL = 256
MAX_ALIAS = 255

_REFUSED = re.compile(r"[^/\w.\- :]")
_LARGEST = sys.float_info.max


def is_valid(name: str) -> bool:
    """Whether MLflow takes a name as it is."""
    normal = posixpath.normpath(name)
    unique = normal == name and name != "." and not name.startswith(("..", "/"))
    return unique and len(name) <= MAX_NAME and not _REFUSED.search(name)


class Names:
    """Gives each name one that MLflow takes; different names stay different. One for each kind of thing and run."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self.mapped: dict[str, str] = {}
        """Names that had to be changed → what they became."""

    def __getitem__(self, name: str) -> str:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = name if is_valid(name) else _mapped(name)
            if known != name:
                self.mapped[name] = known
        return known


def _mapped(name: str) -> str:
    """``accuracy (%)`` → ``accuracy ___ 3f2a91``: with a digest, since ``accuracy [%]`` would become the same."""
    readable = _REFUSED.sub("_", name).strip("/. ") or "_"
    readable = re.sub(r"/{2,}|/\.+(?=/)", "/", readable)[: MAX_NAME - 7]
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:6]
    mapped = f"{readable.rstrip('/')} {digest}"
    return mapped if is_valid(mapped) else digest


def experiment_name(name: str) -> str:
    """An experiment's name, of any text; MLflow refuses empty and very long ones."""
    return " ".join(name.split())[:MAX_EXPERIMENT] or "kernel-gateway"


def model_problem(name: str) -> str:
    """Why MLflow takes no registered model of that name, as the end of a sentence; empty if it does."""
    if not name.strip() or len(name) > MAX_MODEL:
        return f"a model's name has 1 to {MAX_MODEL} characters"
    if "/" in name or ":" in name or posixpath.normpath(name) != name or name in (".", ".."):
        return "a model's name has no / and no :, and is not only dots"
    return ""


def alias_problem(alias: str) -> str:
    """Why MLflow takes no alias of that name, as the end of a sentence; empty if it does."""
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        return "MLflow keeps that word for versions; take another, e.g. champion"
    if not re.fullmatch(rf"[\w-]{{1,{MAX_ALIAS}}}", alias):
        return f"an alias has 1 to {MAX_ALIAS} letters, digits, _ and -"
    return ""


def parameter_value(value: Any) -> str:
    """A parameter as text: strings as they are, all else as JSON; what is too long ends with an ellipsis."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return shorten(text, MAX_PARAMETER)


def shorten(text: str, limit: int = MAX_TAG) -> str:
    """Text of at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def finite(value: float) -> float:
    """A metric's value as MLflow's databases hand it out again: the infinities as the largest numbers."""
    return math.copysign(_LARGEST, value) if math.isinf(value) else value


def infinite(value: float) -> float:
    """The value behind one of MLflow's: the largest numbers stand for the infinities."""
    return math.copysign(math.inf, value) if abs(value) == _LARGEST else value


def timestamp(time: float) -> int:
    """Milliseconds since 1970, as MLflow counts time; `time` in seconds."""
    return max(0, int(time * 1000))
