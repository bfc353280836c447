"""Where data lie: names of files of any bytes, URLs with queries, and a real S3 server."""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Bench, Command, need, words
from .jenkins_server import SmallJenkins
from .test_sources import Site, site

__all__ = ["site"]


def test_a_file_whose_name_is_no_text_is_watched_as_any_other(
    command: Command, jenkins: SmallJenkins, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "triggers.yaml").write_text("triggers: [{name: t, job: retrain, when: [{data: data}]}]")
    (tmp_path / "data/a.csv").write_text("1")
    first = command("triggers", "check", "--json")
    (Path(os.fsdecode(bytes(tmp_path) + b"/data/\xff\n.csv"))).write_text("2")
    second = command("triggers", "check", "--json")

    assert first.returncode == 0, first.stderr
    assert second.returncode == 3, second.stderr
    (build,) = jenkins.builds("retrain")
    assert build["REASON"].endswith("changed: new: data/\\xff .csv")


def test_a_local_url_counts_by_time_and_size_and_not_by_its_owner(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("fsspec")
    from fsspec.implementations.local import LocalFileSystem

    info = LocalFileSystem.info
    # As for anybody but root.
    monkeypatch.setattr(LocalFileSystem, "info", lambda *arguments, **named: {**info(*arguments, **named), "uid": 1000})
    file = bench.folder / "a.csv"
    file.write_text("1")
    bench.write(f"- data: {file.as_uri()}")
    bench.check()
    file.write_text("22")

    assert bench.check().started


def test_a_url_may_have_a_query_and_an_error_names_no_password(bench: Bench, site: Site) -> None:
    bench.write(f"- data: {site.url}/data.csv?version=3")
    found = words(bench.check())
    bench.write("- data: http://me:s3cret@127.0.0.1:9/data.csv?version=3")
    away = bench.check()

    assert "first look" in found
    assert "can't be read" in words(away)
    assert "s3cret" not in words(away) + away.decision.judgements[0].watch.title


SERVER = """\
import json, sys
import boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
url = "http://%s:%s" % server.get_host_and_port()
store = boto3.client("s3", "us-east-1", endpoint_url=url, aws_access_key_id="me", aws_secret_access_key="secret")
store.create_bucket(Bucket="shop")
print(url, flush=True)
for line in sys.stdin:
    key, content = json.loads(line)
    store.put_object(Bucket="shop", Key=key, Body=content.encode())
    print(key, flush=True)
server.stop()
"""


class Store:
    """An S3 server with the bucket `shop`. ``packages``: the folder with s3fs."""

    def __init__(self, folder: Path) -> None:
        uv = Path(sys.executable).with_name("uv")
        # Of their own: botocore holds python-dateutil below 3, which ours is not.
        wanted = (f"s3fs=={importlib.metadata.version('fsspec')}", "moto==5.2.5", "flask", "flask-cors")
        for arguments in (["venv", str(folder)], ["pip", "install", "--python", str(folder), *wanted]):
            done = subprocess.run([str(uv), *arguments], capture_output=True, text=True, check=False, timeout=300)
            assert done.returncode == 0, done.stderr
        (self.packages,) = folder.glob("lib/python*/site-packages")
        self._process = subprocess.Popen(
            [str(folder / "bin" / "python"), "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.url = self._answer()

    def put(self, key: str, content: str) -> None:
        """Have an object hold something."""
        assert self._process.stdin
        print(json.dumps([key, content]), file=self._process.stdin, flush=True)
        assert self._answer() == key

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The server."""
    need("fsspec", "aiohttp")
    found = Store(tmp_path_factory.mktemp("s3") / "env")
    yield found
    found.stop()


def rows(seed: int, mean: float) -> str:
    """A CSV file with a column of numbers."""
    values = random.Random(seed)
    return "x\n" + "".join(f"{values.gauss(mean, 1)}\n" for _ in range(300))


FILE = """\
triggers:
- name: shop
  job: retrain
  errors_after: 2
  minimal_interval: 0
  when:
  - data: [s3://shop/raw, "s3://shop/more/*.csv"]
- name: drift
  job: retrain
  when:
  - drift: s3://shop/new/*.csv
    reference: s3://shop/reference.csv
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_objects_of_s3_count_by_their_etag_and_a_store_that_is_away_is_a_warning_then_an_error_and_never_a_build(
    store: Store, command: Command, jenkins: SmallJenkins, tmp_path: Path
) -> None:
    (tmp_path / "triggers.yaml").write_text(FILE)
    environ = {
        "PYTHONPATH": str(store.packages),
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_MAX_ATTEMPTS": "1",
    }

    def check(endpoint: str = store.url, *arguments: str) -> subprocess.CompletedProcess[str]:
        return command("triggers", "check", *arguments, AWS_ENDPOINT_URL=endpoint, **environ)

    for key in ("raw/deep/a.csv", "more/b.csv", "more/b.txt"):
        store.put(key, "1")
    store.put("reference.csv", rows(1, 0))
    store.put("new/today.csv", rows(2, 0))
    first = check()
    away = [check("http://127.0.0.1:9", "--only", "shop") for _ in range(2)]
    builds = len(jenkins.ids())
    store.put("more/b.txt", "2")
    store.put("more/b.csv", "1")
    store.put("raw/deep/a.csv", "2")
    store.put("new/today.csv", rows(3, 2))
    changed = check()

    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 files, " in first.stdout
    assert "300 rows, 0 of 1 columns drifted" in first.stdout
    assert [done.returncode for done in away] == [0, 1]
    assert "warning: trigger shop, data s3://shop/raw, " in away[0].stderr
    assert "error: trigger shop, data s3://shop/raw, " in away[1].stderr
    assert builds == 0
    assert changed.returncode == 3, changed.stdout + changed.stderr
    data, drift = (build["REASON"] for build in jenkins.builds("retrain"))
    assert data.endswith("changed: changed: s3://shop/raw/deep/a.csv")
    assert "drifted: x (PSI" in drift
