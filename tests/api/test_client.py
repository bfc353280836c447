"""`/client/`: agents that have nothing get the command from the gateway, and find there what its owner adds."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from werkzeug.test import TestResponse

import kernel_gateway
from kernel_gateway.api.wheel import own_wheel

from .conftest import Service

OWN = f"kernel_gateway-{kernel_gateway.__version__}-py3-none-any.whl"


def get(service: Service, path: str, **headers: str) -> TestResponse:
    """What anybody gets there, without a token."""
    return service.client.get(path, headers=headers, buffered=True)


def listed(service: Service) -> dict[str, str]:
    """The page's links: file name to SHA-256."""
    answer = get(service, "/client/")
    assert answer.status_code == 200
    return dict(re.findall(r'<a href="([^"#]+)#sha256=([0-9a-f]{64})"', answer.text))


def test_the_page_lists_the_command_of_the_gateways_own_version_for_everybody(service: Service) -> None:
    links = listed(service)

    assert list(links) == [OWN]
    wheel = get(service, f"/client/{OWN}")
    assert wheel.status_code == 200
    assert hashlib.sha256(wheel.data).hexdigest() == links[OWN]


def test_wheels_of_the_data_folder_are_listed_and_nothing_else_of_it(service: Service) -> None:
    folder = service.data.wheels
    folder.mkdir()
    name = "click-8.1.7-py3-none-any.whl"
    (folder / name).write_bytes(b"wheel")
    for other in ("notes.txt", 'a"b-1-py3-none-any.whl', ".hidden-1-py3-none-any.whl"):
        (folder / other).write_bytes(b"no")
    (folder / OWN).write_bytes(b"not this one")

    links = listed(service)

    assert list(links) == [OWN, name]
    assert links[name] == hashlib.sha256(b"wheel").hexdigest()
    assert get(service, f"/client/{name}").data == b"wheel"
    assert get(service, f"/client/{name}", Range="bytes=1-2").data == b"he"
    assert get(service, f"/client/{OWN}").data != b"not this one"
    for other in ("notes.txt", "..%2Fgateway.db", "%2e%2e/gateway.db", "none-1-py3-none-any.whl"):
        assert get(service, f"/client/{other}").status_code == 404, other


def test_the_wheel_is_a_wheel_of_all_files_with_their_digests() -> None:
    wheel = own_wheel()

    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        names = archive.namelist()
        (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
        rows = {row[0]: row[1:] for row in csv.reader(archive.read(record).decode().splitlines())}
        assert rows.keys() == set(names)
        for name in set(names) - {record}:
            digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest()).rstrip(b"=").decode()
            assert rows[name] == [f"sha256={digest}", str(len(archive.read(name)))]
        assert b"kernel-gateway = kernel_gateway.cli:main" in archive.read(record.replace("RECORD", "entry_points.txt"))
        assert b"Requires-Dist: click" in archive.read(record.replace("RECORD", "METADATA"))
    package = Path(kernel_gateway.__file__).parent
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {f"kernel_gateway/{path.relative_to(package).as_posix()}" for path in files} <= set(names)


def test_the_same_package_makes_the_same_wheel() -> None:
    again = own_wheel.__wrapped__()

    assert again.sha256 == own_wheel().sha256


def test_pip_takes_the_wheel(tmp_path: Path) -> None:
    wheel = own_wheel()
    (tmp_path / wheel.name).write_bytes(wheel.content)
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]

    subprocess.run([*command, str(tmp_path / wheel.name)], check=True, timeout=60)

    code = "import kernel_gateway; print(kernel_gateway.__file__)"
    environ = {"PYTHONPATH": str(target)}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith(str(target))
