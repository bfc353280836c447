"""Files in which people write down their packages: each is built as its own tool would, or refused with a reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from kernel_gateway.errors import EnvironmentBuildError
from kernel_gateway.kernels.environments import build, languages
from kernel_gateway.kernels.environments.build import build_environment
from kernel_gateway.kernels.environments.cache import Cache
from kernel_gateway.kernels.environments.spec import read_inline, read_spec
from kernel_gateway.kernels.environments.tools import find_uv, mask_credentials
from tests.kernels.r_repository import make_repository, write_lock


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ignore(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


PROJECT = """\
[project]
name = "job"
version = "1"
requires-python = ">=3.11"
dependencies = ["six==1.16.0"]
[project.optional-dependencies]
gpu = ["idna==3.7"]
[dependency-groups]
lint = [{include-group = "base"}]
base = ["iniconfig==2.0.0"]
"""


def test_optional_dependencies_and_groups_are_named_in_brackets(tmp_path: Path, cache: Cache) -> None:
    project = write(tmp_path, "pyproject.toml", PROJECT)

    built = build_environment(tmp_path / "pyproject.toml[gpu, lint]", cache, ignore)

    assert (built.packages["six"], built.packages["idna"], built.packages["iniconfig"]) == ("1.16.0", "3.7", "2.0.0")
    assert read_spec(project).lines == ("six==1.16.0",)
    with pytest.raises(EnvironmentBuildError, match=r"no optional dependencies 'tpu'\. There are: gpu, lint, base"):
        read_spec(tmp_path / "pyproject.toml[tpu]")


def test_a_lock_of_uv_decides_the_versions(tmp_path: Path, cache: Cache) -> None:
    uv = find_uv()
    assert uv is not None
    write(tmp_path, "pyproject.toml", PROJECT.replace("six==1.16.0", "six<1.16"))
    subprocess.run([uv, "lock", "--quiet"], cwd=tmp_path, check=True)
    # What is asked for changes, the lock does not.
    write(tmp_path, "pyproject.toml", PROJECT.replace("six==1.16.0", "six"))
    before = read_spec(tmp_path / "pyproject.toml")

    built = build_environment(tmp_path / "pyproject.toml[gpu]", cache, ignore)

    assert built.packages["six"] == "1.15.0"
    assert built.packages["idna"] == "3.7"
    assert "iniconfig" not in built.packages
    assert "ipykernel" in built.packages
    assert tmp_path / "uv.lock" in before.files
    (tmp_path / "uv.lock").unlink()
    assert read_spec(tmp_path / "pyproject.toml").digest != before.digest


LOCK_OF_UV = """\
version = 1
requires-python = ">=3.11"
[[package]]
name = "job"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "six" }]
[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://packages.example.org/simple" }
"""


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ('"six", "idna"', "asks for 'idna', but the uv.lock beside it lacks that. Run `uv lock`"),
        ('"six>=1.17"', "asks for 'six>=1.17', but the uv.lock beside it has six 1.16.0"),
    ],
)
def test_a_lock_that_lacks_what_is_asked_for_by_now_is_refused(tmp_path: Path, wanted: str, word: str) -> None:
    write(tmp_path, "uv.lock", LOCK_OF_UV)
    read_spec(write(tmp_path, "pyproject.toml", PROJECT.replace('"six==1.16.0"', '"six", "x; os_name == \'nt\'"')))

    with pytest.raises(EnvironmentBuildError, match=re.escape(word)):
        read_spec(write(tmp_path, "pyproject.toml", PROJECT.replace('"six==1.16.0"', wanted)))
    overridden = f'{PROJECT}[tool.uv]\noverride-dependencies = ["six==1.16.0"]\n'
    assert read_spec(write(tmp_path, "pyproject.toml", overridden.replace('"six==1.16.0"', wanted, 1))).locked


def test_files_of_another_shape_are_refused_and_are_no_defect_of_ours(tmp_path: Path) -> None:
    project = write(tmp_path, "pyproject.toml", '[project]\nname = "x"\ndynamic = 5\n')
    with pytest.raises(EnvironmentBuildError, match=r"project\.dynamic must be a list of strings"):
        read_spec(project)
    project.write_text(PROJECT)
    for text in ("package = ['six']", "package = 1"):
        write(tmp_path, "uv.lock", text)
        with pytest.raises(EnvironmentBuildError, match=r"is no lock file of uv"):
            read_spec(project)


@pytest.mark.slow
def test_sources_of_uv_are_heeded(tmp_path: Path, cache: Cache) -> None:
    write(tmp_path, "tiny/pyproject.toml", '[project]\nname = "tiny"\nversion = "2"\n')
    write(tmp_path, "tiny/tiny.py", "")
    text = (
        '[project]\nname = "job"\nversion = "1"\ndependencies = ["tiny"]\n[tool.uv.sources]\ntiny = {path = "tiny"}\n'
    )
    project = write(tmp_path, "pyproject.toml", text)

    assert build_environment(project, cache, ignore).packages["tiny"] == "2"
    assert tmp_path / "tiny" in read_spec(project).files


@pytest.mark.slow
def test_hashes_are_checked_and_ipykernel_comes_besides(tmp_path: Path, cache: Cache) -> None:
    good = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
    line = "six==1.16.0 \\\n    --hash=sha256:{}\n"
    spec = write(tmp_path, "requirements.txt", line.format(good))

    assert build_environment(spec, cache, ignore).packages["six"] == "1.16.0"

    with pytest.raises(EnvironmentBuildError, match=r"(?i)hash"):
        build_environment(write(tmp_path, "requirements.txt", line.format("0" * 64)), cache, ignore)


@pytest.mark.slow
def test_an_editable_package_is_used_in_place(tmp_path: Path, cache: Cache) -> None:
    write(tmp_path, "pkg/pyproject.toml", '[project]\nname = "tiny"\nversion = "1"\n')
    module = write(tmp_path, "pkg/tiny.py", "value = 1\n")
    spec = write(tmp_path, "requirements.txt", "-e ./pkg\n")

    first = build_environment(spec, cache, ignore)
    module.write_text("value = 2\n")

    assert build_environment(spec, cache, ignore) == first
    code = "import tiny; print(tiny.value)"
    assert subprocess.check_output([first.folder / "bin" / "python", "-c", code], text=True) == "2\n"


def test_a_script_names_its_packages_as_pep_723_has_it(tmp_path: Path, cache: Cache) -> None:
    block = (
        '# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n#   "six==1.16.0",\n# ]\n# ///\nimport six\n'
    )

    from_file = build_environment(write(tmp_path, "train.py", block), cache, ignore)
    inline = read_inline({"dependencies": ["six==1.16.0"], "requires-python": ">=3.11"}, tmp_path)

    assert from_file.packages["six"] == "1.16.0"
    assert build_environment(inline, cache, ignore) == from_file


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ("six @@ nonsense", "nonsense"),
        ("six==1.15.0\nsix==1.16.0", "six==1.15.0"),
        ("no-such-package-of-anybody==1", "no-such-package-of-anybody"),
    ],
)
def test_what_can_not_be_resolved_is_told_in_the_resolvers_words(tmp_path: Path, lines: str, word: str) -> None:
    spec = write(tmp_path, "requirements.txt", lines + "\n")

    with pytest.raises(EnvironmentBuildError) as caught:
        build_environment(spec, Cache(tmp_path / "cache"), ignore)

    assert "requirements.txt can't be built" in str(caught.value)
    assert word in str(caught.value)


def test_a_file_that_goes_on_for_ever_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match="no ordinary file"):
        read_spec(write(tmp_path, "requirements.txt", f"-r {os.devnull.replace('null', 'zero')}\n"))


def test_conda_requirements_become_pips(tmp_path: Path) -> None:
    text = "dependencies: ['python>=3.10, <4', 'ipykernel=6.29', 'setuptools==70.0', wheel, {pip: [six]}]\n"

    spec = read_spec(write(tmp_path, "environment.yml", text))

    assert spec.python == ">=3.10,<4"
    assert spec.lines == ("ipykernel==6.29.*", "setuptools==70.0", "wheel", "six")
    assert spec.conda == ()
    other = read_spec(write(tmp_path, "environment.yml", f"{text}variables: {{LEVEL: 3}}\n"))
    assert other.variables == {"LEVEL": "3"}
    assert other.digest != spec.digest
    with pytest.raises(EnvironmentBuildError, match="names of environment variables"):
        read_spec(write(tmp_path, "environment.yml", f"{text}variables: {{a b: c}}\n"))


def test_optional_dependencies_that_name_others_of_the_project_include_them(tmp_path: Path) -> None:
    text = PROJECT.replace(
        "[dependency-groups]", 'all = ["Job[gpu, test]", "attrs"]\ntest = ["job[gpu]"]\n[dependency-groups]'
    )
    write(tmp_path, "pyproject.toml", text)

    assert read_spec(tmp_path / "pyproject.toml[all]").lines == ("six==1.16.0", "idna==3.7", "idna==3.7", "attrs")
    for circle in ('test = ["job[all]"]', 'test = ["job[none]"]'):
        write(tmp_path, "pyproject.toml", text.replace('test = ["job[gpu]"]', circle))
        with pytest.raises(EnvironmentBuildError, match="optional dependencies 'test' name"):
            read_spec(tmp_path / "pyproject.toml[all]")


def test_names_that_no_file_can_have_are_no_defect_of_ours(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path, "requirements.txt", f"./{'a' * 5000}\n./a\0b\n")).files == ()
    for name in ("a" * 5000, "a\0b"):
        with pytest.raises(EnvironmentBuildError, match=r"can't be (read|the name)"):
            read_spec(write(tmp_path, "requirements.txt", f"-r {name}\n"))


def test_an_ipykernel_that_this_gateway_can_not_talk_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands in for uv, for which versions are a given where they are locked, or have hashes.
    place = "lib/python3/site-packages/ipykernel-5.5.6.dist-info"
    script = f'for last; do :; done\n[ "$1" = pip ] || {{ mkdir -p "$last/{place}"\n'
    script += f'printf "Name: ipykernel\\nVersion: 5.5.6\\n" > "$last/{place}/METADATA"; }}'
    uv = write(tmp_path, "bin/uv", f"#!/bin/sh\n{script}\n")
    uv.chmod(0o755)
    monkeypatch.setattr(build, "find_uv", lambda: str(uv))

    with pytest.raises(EnvironmentBuildError, match=r"brings ipykernel 5\.5\.6; .* need ipykernel>=6"):
        build_environment(write(tmp_path, "requirements.txt", "six\n"), Cache(tmp_path / "cache"), ignore)


def test_a_pipe_in_a_local_package_holds_nobody_up(tmp_path: Path) -> None:
    write(tmp_path / "mine", "pyproject.toml", PROJECT)
    file = write(tmp_path, "requirements.txt", "./mine\n")
    before = read_spec(file).digest

    os.mkfifo(tmp_path / "mine" / "pipe")

    assert read_spec(file).digest == before


def test_a_dependency_that_grows_when_it_is_written_out_is_refused_with_a_short_word(tmp_path: Path) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 20))
    file = write(tmp_path, "environment.yml", f"l0: &l0 [x]\n{levels}dependencies: [*l19]\n")

    with pytest.raises(EnvironmentBuildError, match="which is no text") as caught:
        read_spec(file)

    assert len(str(caught.value)) < 10_000


def test_credentials_in_urls_are_masked_with_whatever_they_contain() -> None:
    text = "from https://me:p@ss@host/simple and git+https://host/repository@v1, see https://host a@b"

    masked = "from https://****@host/simple and git+https://host/repository@v1, see https://host a@b"
    assert mask_credentials(text) == masked


# -- R and Julia -------------------------------------------------------------------------------------

LOCK = json.dumps({"R": {"Version": "4.2.2"}, "Packages": {"tiny": {"Package": "tiny", "Version": "1.0"}}})


def test_r_without_its_tool_is_refused_with_the_tools_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EnvironmentBuildError, match=r"renv\.lock needs R with its package renv.*no Rscript"):
        build_environment(write(tmp_path, "renv.lock", LOCK), Cache(tmp_path / "cache"), ignore)


def test_julia_without_its_tool_is_refused_with_the_tools_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EnvironmentBuildError, match=r"Project\.toml needs Julia.*no julia"):
        build_environment(write(tmp_path, "Project.toml", "[deps]\n"), Cache(tmp_path / "cache"), ignore)


def test_a_lock_of_renv_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match="is no lock file of renv"):
        read_spec(write(tmp_path, "renv.lock", "{}"))


def test_r_without_renv_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As R does where renv is missing; whether this machine has it must not matter here.
    tool(tmp_path, "Rscript", f"exit {languages._NO_RENV}", monkeypatch)

    with pytest.raises(EnvironmentBuildError, match=r"needs R's package renv on this machine\. Install it"):
        build_environment(write(tmp_path, "renv.lock", LOCK), Cache(tmp_path / "cache"), ignore)


def test_r_is_asked_to_restore_into_a_library_that_kernels_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands in for R: notes how it was called and installs one package.
    script = 'for last; do :; done; mkdir "$last/tiny"; echo "Version: 1.0" > "$last/tiny/DESCRIPTION"'
    tool(tmp_path, "Rscript", script, monkeypatch)
    lock = write(tmp_path, "renv.lock", LOCK)

    built = build_environment(lock, Cache(tmp_path / "cache"), ignore)

    assert built.packages == {"tiny": "1.0"}
    assert built.python is None
    assert built.environ({})["R_LIBS"] == str(built.folder / "library")
    assert (tmp_path / "called").read_text().split()[-2:] == [str(lock), str(built.folder / "library")]


def has_renv() -> bool:
    try:
        command = ["Rscript", "-e", 'if (!requireNamespace("renv", quietly = TRUE)) quit(status = 1)']
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
def test_packages_of_r_are_restored_from_a_repository(tmp_path: Path) -> None:
    if not has_renv():
        pytest.skip("R's package renv is not installed; it comes from CRAN, which a build machine may not reach")
    url = make_repository(tmp_path)
    write_lock(tmp_path / "renv.lock", url)

    built = build_environment(tmp_path / "renv.lock", Cache(tmp_path / "cache"), ignore)

    assert built.packages == {"tinyr": "1.2.3"}
    command = ["Rscript", "-e", "cat(tinyr::answer())"]
    assert subprocess.check_output(command, env=built.environ(os.environ), text=True) == "42"
    write_lock(tmp_path / "renv.lock", url, version="9.9.9")
    with pytest.raises(EnvironmentBuildError, match=r"tinyr"):
        build_environment(tmp_path / "renv.lock", Cache(tmp_path / "cache"), ignore)


def test_julia_is_asked_to_instantiate_the_project_with_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands in for Julia.
    tool(tmp_path, "julia", "exit 0", monkeypatch)
    write(
        tmp_path, "Manifest.toml", 'manifest_format = "2.0"\n[[deps.Example]]\nuuid = "7876af07"\nversion = "0.5.3"\n'
    )
    project = write(tmp_path, "Project.toml", '[deps]\nExample = "7876af07"\n')

    built = build_environment(project, Cache(tmp_path / "cache"), ignore)

    assert built.packages == {"Example": "0.5.3"}
    assert built.environ({}) == {"JULIA_PROJECT": str(built.folder)}
    assert f"--project={built.folder}" in (tmp_path / "called").read_text()


def tool(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, f"bin/{name}", f'#!/bin/sh\necho "$@" > {folder}/called\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
