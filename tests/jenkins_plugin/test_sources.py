"""The plugin's sources agree with each other, with the shared library and with the command; its pages are safe."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import click
import pytest

from kernel_gateway import __version__
from kernel_gateway.cli.options_file import OWN_NAMES
from kernel_gateway.cli.run import run
from kernel_gateway.errors import EXIT_CODES
from tests.jenkins_plugin.conftest import FORMS, JAVA, PLUGIN, ROOT, setters, step_setters

LIBRARY = ROOT / "jenkins-plugin"
CONFIGS = sorted(FORMS.glob("*/config.jelly"))
VIEWS = sorted((PLUGIN / "src/main/resources").rglob("*.jelly"))
SOURCES = sorted(JAVA.rglob("*.java"))

OF_THE_FORM_ALONE = {"typedParams"}
"""What a pipeline's `params` becomes when it is a map."""


def fields(config: Path) -> set[str]:
    return set(re.findall(r'<f:entry[^>]* field="(\w+)"', config.read_text("utf-8")))


def arguments_of_the_library() -> dict[str, str]:
    """Argument → option of the command ('' for none), as the library's own table has them."""
    source = (LIBRARY / "src/org/kernelgateway/Request.groovy").read_text("utf-8")
    table = re.search(r"known\(\) \{\s*return \[(.*?)\n        \]", source, re.DOTALL)
    assert table is not None
    return dict(re.findall(r"(\w+): \['\w+', '([\w-]*)'\]", table[1]))


# -- names -----------------------------------------------------------------------------------------------


def test_step_takes_the_same_arguments_as_the_shared_library() -> None:
    assert step_setters() - OF_THE_FORM_ALONE == set(arguments_of_the_library())


def test_step_passes_the_same_options_to_the_command_as_the_shared_library() -> None:
    source = (JAVA / "KernelRunStep.java").read_text("utf-8") + (JAVA / "KernelCommand.java").read_text("utf-8")
    options = set(re.findall(r'\.option\("([\w-]+)"', source))
    long_options = {word[2:] for option in run.params if isinstance(option, click.Option) for word in option.opts}

    assert options - set(OWN_NAMES) <= long_options
    assert {option for option in arguments_of_the_library().values() if option} <= options | {"gateway"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.parent.name)
def test_every_field_of_a_form_is_taken_and_explained(config: Path) -> None:
    name = config.parent.name
    taken = step_setters() if name == "KernelRunStep" else setters((JAVA / f"{name}.java").read_text("utf-8"))

    shown = fields(config)

    assert shown
    assert shown <= taken
    assert [field for field in sorted(shown) if not (config.parent / f"help-{field}.html").is_file()] == []


def test_form_has_a_field_for_every_argument() -> None:
    missing = step_setters() - OF_THE_FORM_ALONE - fields(FORMS / "KernelRunStep" / "config.jelly")

    assert missing == {"file"}, "a script's path stands in the field of the notebook"


def test_every_help_text_belongs_to_something_that_can_be_set() -> None:
    for file in FORMS.glob("*/help-*.html"):
        name = file.parent.name
        taken = step_setters() if name == "KernelRunStep" else setters((JAVA / f"{name}.java").read_text("utf-8"))
        assert file.stem.removeprefix("help-") in taken, file
        ElementTree.fromstring(file.read_text("utf-8"))


def test_plugin_knows_every_exit_code_of_the_command() -> None:
    codes = {int(code) for code in re.findall(r"^    [A-Z_]+\((-?\d+),", _read("model/RunEnd.java"), re.MULTILINE)}

    assert codes == {*EXIT_CODES.values(), 2, 6, -1}


def test_plugin_has_the_version_of_the_gateway(build_plugin: ModuleType) -> None:
    assert build_plugin.read_project().version == __version__


def test_plugin_carries_the_scripts_that_start_the_command(build_plugin: ModuleType) -> None:
    named = re.search(r"SCRIPTS = List\.of\((.*?)\)", _read("KernelCommand.java"))
    assert named is not None
    scripts = {f"org/kernelgateway/{name}" for name in re.findall(r'"([\w.]+)"', named[1])}

    folder, includes = build_plugin.read_project().resources[-1]

    assert set(includes) == scripts
    assert all((folder / name).is_file() for name in includes)


# -- safety ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.parent.name}/{view.name}")
def test_views_escape_what_they_show_and_hold_no_scripts_or_styles(view: Path) -> None:
    text = view.read_text("utf-8")
    ElementTree.fromstring(text)

    assert text.startswith("<?jelly escape-by-default='true'?>")
    assert not re.search(r"<script|\son\w+=|\sstyle=|javascript:", text)
    # The one thing that is written as it is: a picture whose texts TrendChart escapes.
    assert all(".svg(" in value for value in re.findall(r'<j:out value="([^"]*)"', text))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_what_forms_ask_for_is_for_those_who_may_configure_and_by_post(source: Path) -> None:
    text = source.read_text("utf-8")
    for match in re.finditer(
        r"(@POST\s+)?(?:public|default) \w+ (do(?:Check|Fill|Test)\w+)\(.*?\n    (?:    )?\}\n", text, re.DOTALL
    ):
        if match[2] == "doFillOnGateItems":  # two constant words
            continue
        assert match[1], f"{match[2]} answers to GET"
        guarded = re.search(r"FormChecks\.|checkPermission|Tokens\.list", match[0])
        assert guarded, f"{match[2]} checks no permission"


def test_no_command_line_holds_anything_but_constants() -> None:
    lines = [line.strip() for source in SOURCES for line in source.read_text("utf-8").splitlines() if ".cmds(" in line]

    assert lines
    assert all(re.search(r'\.cmds\("sh", "-c", literal\([A-Z]+\)\)', line) for line in lines), lines


def test_no_class_is_too_long_to_read() -> None:
    assert [source.name for source in SOURCES if len(source.read_text("utf-8").splitlines()) > 400] == []


def _read(name: str) -> str:
    return (JAVA / name).read_text("utf-8")
