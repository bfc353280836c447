"""The documentation: nothing that users can rely on is missing from it, its links lead somewhere, its commands work."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from kernel_gateway import errors
from kernel_gateway.cli import cli
from kernel_gateway.errors import EXIT_CODES, GatewayError
from kernel_gateway.events import EVENT_FIELDS, CellStatus, EventType, Status
from kernel_gateway.settings import PREFIX, Settings
from kernel_gateway.sources import READERS
from kernel_gateway.store.folder import RESULT_FILES, RESULT_FOLDERS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def page(name: str) -> str:
    """The text of a page below `docs`."""
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its own level or a higher one; fails without the heading."""
    level = len(heading) - len(heading.lstrip("#"))
    match = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"there is no heading {heading!r}"
    return match[1]


def rows(text: str) -> dict[str, list[str]]:
    """Rows of the tables in a text by each code word in their first column."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            columns = [column.strip() for column in line.strip("| ").split(" | ")]
            for word in re.findall(r"`([^`]+)`", columns[0]) or [columns[0]]:
                found.setdefault(word, columns)
    return found


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, groups included, with its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def error_classes() -> list[type[GatewayError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, GatewayError)]


# -- what must stand in the docs --------------------------------------------------------------------------


def test_every_command_and_each_of_its_options_is_described() -> None:
    texts = [text.read_text(encoding="utf-8") for text in sorted(DOCS.glob("*.md"))]

    missing = []
    for name, command in commands(cli, "kernel-gateway"):
        describing = [text for text in texts if name in text]
        if not describing:
            missing.append(name)
        for option in command.params:
            for word in option.opts if isinstance(option, click.Option) else []:
                if not any(re.search(rf"`[^`\n]*(?<![\w-]){re.escape(word)}(?![\w-])", text) for text in describing):
                    missing.append(f"{name} {word}")

    assert not missing, f"describe these in docs/command-line.md: {missing}"


@pytest.mark.parametrize(
    ("name", "heading", "some"),
    [
        ("run", "## `kernel-gateway run SOURCE`", {"-c CODE", "--require EXPR", "--allow-errors", "--gateway URL"}),
        ("serve", "## `kernel-gateway serve`", {"--host ADDRESS", "--slots N", "--config FILE", "--tls-key FILE"}),
    ],
)
def test_every_option_has_a_row_with_its_metavar(name: str, heading: str, some: set[str]) -> None:
    described = rows(section(page("command-line.md"), heading))
    command = cli.get_command(click.Context(cli), name)
    assert command is not None

    options = [option for option in command.params if isinstance(option, click.Option)]
    expected = {f"{word} {option.metavar}" if option.metavar else word for option in options for word in option.opts}

    assert some <= expected
    assert not expected - described.keys()
    unknown = {word for word in described if re.match("--?[a-z]", word)} - expected - {"-h", "--help"}
    assert not unknown, f"there is no such option: {sorted(unknown)}"


def test_every_setting_has_a_row_with_its_default() -> None:
    described = rows(page("settings.md"))

    for setting in fields(Settings):
        variable = PREFIX + setting.name.upper()
        assert variable in described, f"docs/settings.md lacks {variable}"
        assert described[variable][1] == (str(setting.default) if setting.default != "" else "(none)"), variable
    unknown = {word for word in described if word.startswith(PREFIX)} - {
        PREFIX + setting.name.upper() for setting in fields(Settings)
    }
    assert not unknown, f"there is no such setting: {sorted(unknown)}"


@pytest.mark.parametrize("type", EventType)
def test_every_event_type_and_each_of_its_fields_is_described(type: EventType) -> None:
    described = rows(section(page("events.md"), f"### `{type}`"))

    missing = EVENT_FIELDS[type].keys() - described.keys()

    assert not missing, f"docs/events.md lacks fields of {type}: {sorted(missing)}"


def test_every_exit_code_and_status_is_described_and_they_belong_together() -> None:
    for text in (page("command-line.md"), (ROOT / "README.md").read_text(encoding="utf-8")):
        codes = {columns[0]: columns[1] for columns in rows(text).values() if columns[0].isdigit()}

        assert codes.keys() == {str(code) for code in (*EXIT_CODES.values(), 2, 6)}
        for status, code in EXIT_CODES.items():
            assert f"`{status}`" in codes[str(code)]
    for status in Status:
        assert f"`{status}`" in page("command-line.md")
    for cell_status in CellStatus:
        assert f"`{cell_status}`" in section(page("events.md"), "### `cell_finished`")


def test_every_error_class_stands_there_with_its_exit_code() -> None:
    described = rows(page("command-line.md"))

    for error in error_classes():
        assert error.__name__ in described, f"docs/command-line.md lacks {error.__name__}"
        assert described[error.__name__][1] == str(error.exit_code), error.__name__


def test_every_result_file_is_described() -> None:
    expected = {*RESULT_FILES, "report/index.html", *(f"{name}/" for name in RESULT_FOLDERS if name != "report")}

    assert not expected - rows(page("results.md")).keys()
    for name in expected:
        assert f"`{name}`" in section(page("command-line.md"), "## Result files"), name


def test_every_suffix_of_a_source_is_described() -> None:
    described = rows(section(page("command-line.md"), "## Suffixes"))

    assert not {suffix for suffix in READERS if suffix} - described.keys()
    assert not {word for word in described if word.startswith(".")} - READERS.keys()


# -- what stands there must be true -----------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_and_images_lead_somewhere(path: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = path.parent / name if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)

    assert not broken


def test_the_map_names_every_page() -> None:
    linked = {target.partition("#")[0] for target in LINK.findall(page("index.md"))}

    assert {path.name for path in DOCS.glob("*.md")} - {"index.md"} <= linked


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_in_shown_commands_exist(path: Path) -> None:
    known = {"--help", "-h", "--version"}
    known.update(word for _, command in commands(cli, "") for option in command.params for word in option.opts)

    unknown: set[str] = set()
    for _, block in FENCE.findall(path.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            _, called, rest = line.partition("kernel-gateway run ")
            words = re.findall(r"(?<=\s)-{1,2}[a-z][\w-]*", " " + re.sub(r"'[^']*'", "''", rest)) if called else []
            unknown.update(word for word in words if word not in known)

    assert not unknown


def test_python_names_in_the_guide_to_extending_exist() -> None:
    names = re.findall(r"`(kernel_gateway(?:\.\w+)+)`", page("extending.md"))

    assert len(names) > 10
    for name in names:
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            try:
                value: object = importlib.import_module(".".join(parts[:length]))
            except ModuleNotFoundError:
                continue
            for attribute in parts[length:]:
                value = getattr(value, attribute)  # raises where the name is gone
            break


@pytest.mark.parametrize("name", ["extending.md", "architecture.md"])
def test_files_that_the_guides_name_exist(name: str) -> None:
    roots = (ROOT, ROOT / "kernel_gateway")
    files = re.findall(r"`((?:kernel_gateway|tests|cli|kernels|runner|sources|store|scripts)/[\w./]+)`", page(name))

    assert len(files) > 5
    assert [file for file in files if not any((root / file).exists() for root in roots)] == []


def shown_commands() -> list[tuple[str, int]]:
    """Commands in the README that need no file, with the exit code that a remark behind them states."""
    found = []
    for language, block in FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        for line in block.splitlines() if language == "sh" else []:
            if line.startswith("kernel-gateway run -c "):
                code = re.search(r"# exits with (\d+)$", line)
                found.append((line.partition("   #")[0], int(code[1]) if code else 0))
    return found


def test_the_readme_shows_commands_that_succeed_and_some_that_do_not() -> None:
    assert {code for _, code in shown_commands()} >= {0, 1, 3, 4}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "code"), shown_commands(), ids=lambda value: str(value)[:60])
def test_a_command_of_the_readme_exits_with_the_code_it_states(command: str, code: int, tmp_path: Path) -> None:
    name, *arguments = shlex.split(command)

    done = subprocess.run(
        [str(Path(sysconfig.get_path("scripts"), name)), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == code, done.stdout + done.stderr
    assert (tmp_path / "kernel-runs" / "snippet" / "report" / "index.html").is_file()


def test_pictures_are_small() -> None:
    pictures = [path for path in (DOCS / "img").iterdir() if path.is_file()]

    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 200_000] == []
