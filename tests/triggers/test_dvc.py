"""What DVC itself writes is read without it: `.dvc` files, `dvc.lock`, revisions, repositories elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_gateway.jenkins.triggers.evidence import Unreadable
from kernel_gateway.jenkins.triggers.sources.dvc import tracked

from .conftest import Bench, words
from .test_sources import commit, git

LOCK = b"""\
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    outs:
    - path: out/train.csv
      hash: md5
      md5: 6137cde4893c59f76f005a8123d8e8e6
      size: 12
"""


def test_an_output_of_a_stage_is_found_in_the_lock_file_above_it() -> None:
    files = {"jobs/dvc.lock": LOCK, "dvc.lock": b"schema: '2.0'\nstages: {}\n"}

    assert tracked("jobs/out/train.csv", files.get) == ("6137cde4893c59f76f005a8123d8e8e6", ", 12 bytes")
    assert tracked("out/train.csv", files.get) is None


STAGES = b"""\
stages:
  prepare: {wdir: out, cmd: x, outs: [train.csv]}
  each:
    foreach: [a, b]
    do: {wdir: ../parts, cmd: x, outs: ['${item}.csv']}
  elsewhere: {cmd: x, outs: [out/train.csv]}
"""
LOCKED = b"""\
stages:
  prepare: {outs: [{path: train.csv, md5: '1'}]}
  each@a: {outs: [{path: a.csv, md5: '2'}]}
  elsewhere: {outs: [{path: train.csv, md5: '3'}]}
"""


@pytest.mark.parametrize(
    ("path", "digest"), [("jobs/out/train.csv", "1"), ("jobs/train.csv", "3"), ("jobs/a.csv", None)]
)
def test_an_output_s_path_starts_from_its_stage_s_working_folder(path: str, digest: str | None) -> None:
    files = {"jobs/dvc.yaml": STAGES, "jobs/dvc.lock": LOCKED}

    found = tracked(path, files.get)

    assert (found and found[0]) == digest


def test_an_output_of_a_stage_that_foreach_makes_is_found() -> None:
    files = {"dvc.yaml": STAGES.replace(b"../", b""), "dvc.lock": LOCKED}

    assert tracked("parts/a.csv", files.get) == ("2", "")


def test_a_folder_whose_versions_a_remote_keeps_counts_by_its_files() -> None:
    def out(*etags: str) -> dict[str, bytes]:
        files = "".join(f"  - {{relpath: {etag}.csv, size: 1, cloud: {{s3: {{}}}}, md5: {etag}}}\n" for etag in etags)
        return {"raw.dvc": f"outs:\n- path: raw\n  hash: md5\n  files:\n{files}".encode()}

    digests = [tracked("raw", out(*etags).get) for etags in (("a", "b"), ("b", "a"), ("a", "c"))]

    assert digests[0] is not None
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_is_no_yaml_is_named() -> None:
    with pytest.raises(Unreadable, match=r"data\.dvc is no YAML"):
        tracked("data", {"data.dvc": b"outs: ["}.get)


@pytest.fixture(scope="module")
def dvc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DVC in an environment of its own: it holds some 50 packages, which ours must agree with nowhere."""
    place = tmp_path_factory.mktemp("dvc") / "env"
    uv = Path(sys.executable).with_name("uv")
    for arguments in (["venv", "--quiet", str(place)], ["pip", "install", "--quiet", "--python", str(place), "dvc>=3"]):
        done = subprocess.run([str(uv), *arguments], capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
    return place / "bin" / "dvc"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_data_that_real_dvc_tracks_counts_here_at_a_revision_and_elsewhere(bench: Bench, dvc: Path) -> None:
    folder = bench.folder / "data-registry"
    folder.mkdir()
    git(folder, "init", "--quiet")

    def run(*arguments: str) -> None:
        environ = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(bench.folder / "cache")}
        subprocess.run([str(dvc), *arguments], cwd=folder, env=environ, capture_output=True, check=True, timeout=100)

    def track(content: str) -> None:
        (folder / "raw").mkdir(exist_ok=True)
        (folder / "raw/a.csv").write_text(content)
        (folder / "b.csv").write_text(content)
        run("add", "--quiet", "raw", "b.csv")

    run("init", "--quiet")
    track("1")
    commit(folder)
    url = folder.as_uri()
    conditions = (
        "- dvc: raw\n  repo: data-registry",
        "- dvc: b.csv\n  repo: data-registry\n  rev: main",
        f"- dvc: raw\n  repo: {url}\n  rev: main",
        f"- dvc: b.csv\n  repo: {url}",
    )
    bench.write("\n".join(conditions), minimal_interval=0)

    first = bench.check()
    track("2")
    here = bench.check()
    commit(folder)
    everywhere = bench.check()
    again = bench.check()
    bench.write("- dvc: nothing\n  repo: data-registry")
    missing = bench.check()

    assert [one.finding for one in first.decision.judgements] == ["first look"] * 4
    assert [one.finding for one in here.decision.judgements] == ["met", *["not met"] * 3]
    assert [one.finding for one in everywhere.decision.judgements] == ["not met", "met", "met", "met"]
    assert not again.started
    assert "1 file," in first.decision.judgements[0].new
    assert "DVC tracks no nothing" in words(missing)
