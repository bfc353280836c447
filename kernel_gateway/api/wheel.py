"""The command line as a wheel, made of the package that the gateway itself was started from.

An agent that has nothing but Python gets it from `/client/`: whatever release or clone a gateway runs, its clients can
be the same. Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .. import __version__

DISTRIBUTION = "kernel-gateway"

_INFO = f"kernel_gateway-{__version__}.dist-info"
_WHEEL = "Wheel-Version: 1.0\nGenerator: kernel_gateway\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_LEFT_OUT = ("RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip file knows: the same files make the same bytes


@dataclass(frozen=True)
class Wheel:
    """A wheel by its file name."""

    name: str
    content: bytes
    sha256: str
    requires_python: str


@functools.cache
def own_wheel() -> Wheel:
    """The wheel of this package. Made at the first call, in a fraction of a second, and kept: about a megabyte."""
    distribution = metadata.distribution(DISTRIBUTION)
    files = dict(sorted([*_package(), *_information(distribution)]))
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{_INFO}/RECORD"] = "\n".join([*record, f"{_INFO}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return Wheel(
        name=f"kernel_gateway-{__version__}-py3-none-any.whl",
        content=buffer.getvalue(),
        sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
        requires_python=distribution.metadata["Requires-Python"] or "",
    )


def _package() -> Iterator[tuple[str, bytes]]:
    package = Path(__file__).parent.parent
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{package.name}/{path.relative_to(package).as_posix()}", path.read_bytes()


def _information(distribution: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """METADATA, entry points and licences, as they were installed: an editable install has these too."""
    for file in distribution.files or ():
        folder, _, name = file.as_posix().partition("/")
        if folder == _INFO and name not in _LEFT_OUT:
            yield f"{_INFO}/{name}", file.read_binary()
    yield f"{_INFO}/WHEEL", _WHEEL.encode()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
