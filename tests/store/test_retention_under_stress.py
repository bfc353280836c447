"""Collections that are killed, that race with runs, and that meet what kernels leave behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from kernel_gateway.errors import GatewayError
from kernel_gateway.events import Status
from kernel_gateway.store.database import migrate, open_database, sqlite_url
from kernel_gateway.store.records import RetentionPolicy
from kernel_gateway.store.runs import RunStore

from .data_folder import Service


@pytest.fixture
def service(tmp_path: Path, engine: Engine) -> Service:
    return Service(tmp_path / "data", engine)


def test_a_blob_used_in_the_moment_it_goes_is_put_back(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = service.blob(b"x")
    path = service.blobs.path(digest)
    rename = os.rename

    def used_at_the_last_moment(source: Path, target: Path) -> None:
        if Path(source) == path:
            os.utime(path)
        rename(source, target)

    monkeypatch.setattr(os, "rename", used_at_the_last_moment)

    assert service.collect().blobs == 0
    assert service.blobs.get(digest) == b"x"


def test_a_needed_blob_that_a_killed_collection_had_put_aside_comes_back(service: Service) -> None:
    digest = service.blob(b"x")
    service.run("a", workspace=(digest,))
    path = service.blobs.path(digest)
    path.rename(path.with_name(f".deleting-{digest}"))

    service.collect()

    assert service.blobs.get(digest) == b"x"


def test_a_collection_killed_at_any_moment_is_finished_by_the_next(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step that changes the disk or the database is, one time, the last."""

    class Killed(BaseException):
        pass

    steps = 0

    def dying(function: object) -> object:
        def step(*args: object, **kwargs: object) -> object:
            nonlocal steps
            if steps == 0:
                raise Killed
            steps -= 1
            return function(*args, **kwargs)  # type: ignore[operator]

        return step

    finished = False
    deaths = 0
    while not finished:
        needed, unused = service.blob(b"needed"), service.blob(b"unused")
        service.run("old", days=9, size=100)
        service.run("kept", workspace=(needed,))
        steps = deaths
        with monkeypatch.context() as patch:
            for owner, name in ((os, "rename"), (shutil, "rmtree"), (RunStore, "delete"), (Path, "unlink")):
                patch.setattr(owner, name, dying(getattr(owner, name)))
            try:
                service.collect(RetentionPolicy(max_age_days=1))
                finished = True
            except Killed:
                deaths += 1

        service.collect(RetentionPolicy(max_age_days=1))

        assert service.left() == ["kept"]
        assert (service.has(needed), service.has(unused)) == (True, False)
        shutil.rmtree(service.folder("kept"))
        service.runs.delete("kept")
    assert deaths >= 4


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder below which any user may reach what is his."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_folders_that_a_kernel_closed_go_and_what_links_point_to_stays(open_folder: Path) -> None:
    # given: a run whose kernel left a closed folder, and a link out of its own
    data, outside = open_folder / "data", open_folder / "outside"
    data.mkdir()
    outside.mkdir()
    (outside / "file").write_text("not the run's")
    engine = open_database(sqlite_url(data / "gateway.db"))
    migrate(engine)
    service = Service(data, engine)
    work = service.run("a", days=2) / "work"
    inner = work / "closed" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("")
    (work / "link").symlink_to(outside)
    (inner / "link").symlink_to(outside)
    mode = outside.stat().st_mode
    user = 65534 if os.geteuid() == 0 else os.geteuid()  # root may enter what is closed
    for path in [data, *data.rglob("*")]:
        os.chown(path, user, -1, follow_symlinks=False)
    for folder in (inner, inner.parent, work):
        folder.chmod(0)

    # when: it is removed by a service that is not root
    caller = os.geteuid()
    os.seteuid(user)
    try:
        with pytest.raises(PermissionError):
            shutil.rmtree(service.folder("a"))
        service.collect(RetentionPolicy(max_age_days=1))
    finally:
        os.seteuid(caller)
        engine.dispose()

    # then: all of it is gone, and nothing else
    assert service.left() == []
    assert (outside / "file").read_text() == "not the run's"
    assert outside.stat().st_mode == mode


def test_runs_that_come_and_go_during_a_collection_lose_nothing(service: Service) -> None:
    """Three submitters send a blob, submit and end runs while collections with the strictest policy go on."""
    stop = threading.Event()
    broken: list[str] = []

    def submitter(number: int) -> None:
        count = 0
        while not stop.is_set():
            id = f"s{number}-{count}"
            content = f"{number} {count % 3}".encode()
            digest = hashlib.sha256(content).hexdigest()
            try:
                service.blobs.put(content)
                os.utime(service.blobs.path(digest))  # as an upload does
                service.run(id, Status.RUNNING, workspace=(digest,))
                if service.blobs.get(digest) != content:
                    broken.append(f"{id} has another content")
                service.runs.finish(id, "succeeded", "", 0, 1.0)
            except (KeyError, OSError, GatewayError) as error:
                broken.append(f"{id}: {error!r}")
            count += 1

    threads = [threading.Thread(target=submitter, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 4
    removed = 0
    while time.monotonic() < deadline:
        removed += service.collect(RetentionPolicy(max_age_days=1e-9)).runs
    stop.set()
    for thread in threads:
        thread.join()
    service.collect(RetentionPolicy(max_age_days=1e-9))

    assert broken == []
    assert removed > 10
    assert service.left() == []
