"""What an environment file refers to goes with it to a gateway, under names that keep it together."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_gateway.client.request import FOREIGN_ENV, env_entry, make_request
from kernel_gateway.errors import EnvironmentBuildError, UsageError
from tests.local_package import write_package


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(env: Path | str, root: Path) -> tuple[str, list[str]]:
    entry = env_entry(env, root)
    assert entry is not None
    return entry.file.path + entry.extras, sorted(file.path for file in entry.others)


def test_included_files_and_local_packages_go_along(tmp_path: Path) -> None:
    write(tmp_path / "more" / "base.txt", "six\n-c limits.txt\n")
    write(tmp_path / "more" / "limits.txt", "six<2\n")
    write_package(tmp_path / "envs" / "pkg")
    env = write(tmp_path / "envs" / "requirements.txt", "-r ../more/base.txt\n./pkg\n")

    assert names(env, tmp_path) == (
        "envs/requirements.txt",
        ["envs/pkg/backend.py", "envs/pkg/pyproject.toml", "more/base.txt", "more/limits.txt"],
    )


def test_a_file_elsewhere_gets_a_folder_of_its_own_with_what_lies_below_it(tmp_path: Path) -> None:
    write(tmp_path / "shared" / "sub" / "base.txt", "six\n")
    env = write(tmp_path / "shared" / "requirements.txt", "-r sub/base.txt\n")
    root = tmp_path / "job"
    root.mkdir()

    assert names(env, root) == (f"{FOREIGN_ENV}/requirements.txt", [f"{FOREIGN_ENV}/sub/base.txt"])


def test_a_lock_and_settings_of_uv_go_along_and_extras_stay_in_the_name(tmp_path: Path) -> None:
    write(tmp_path / "uv.lock", 'version = 1\n[[package]]\nname = "six"\nversion = "1.17.0"\n')
    write(tmp_path / "uv.toml", "offline = false\n")
    write(tmp_path / "pyproject.toml", '[project]\nname = "x"\n[project.optional-dependencies]\ngpu = ["six"]\n')

    assert names(f"{tmp_path}/pyproject.toml[gpu]", tmp_path) == ("pyproject.toml[gpu]", ["uv.lock", "uv.toml"])


def test_files_of_the_workspace_are_not_sent_twice(tmp_path: Path) -> None:
    write(tmp_path / "base.txt", "six\n")
    entry = env_entry(write(tmp_path / "requirements.txt", "-r base.txt\n"), tmp_path)
    assert entry is not None

    request = make_request(b"1", None, entry.others, entry, {})

    assert [file["path"] for file in request.body["workspace"]] == ["base.txt"]
    assert request.body["env"]["path"] == "requirements.txt"


def test_nothing_outside_of_the_workspace_is_sent(tmp_path: Path) -> None:
    write(tmp_path / "private.txt", "six\n")
    root = tmp_path / "job"
    root.mkdir()
    (root / "link.txt").symlink_to(tmp_path / "private.txt")

    for line in ("-r ../private.txt", "-r link.txt", f"-c {tmp_path}/private.txt"):
        with pytest.raises(UsageError, match="is not below"):
            env_entry(write(root / "requirements.txt", line + "\n"), root)


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no environment file"):
        env_entry(tmp_path / "requirements.txt", tmp_path)
    with pytest.raises(EnvironmentBuildError, match=r"missing\.txt can't be read"):
        env_entry(write(tmp_path / "requirements.txt", "-r missing.txt\n"), tmp_path)
