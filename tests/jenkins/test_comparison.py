"""What counts as a difference between two config.xml, and how it is told. What Jenkins really writes: test_apply.py."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import UnreachableError
from kernel_gateway.jenkins.comparison import differences, keep_settings_of_people, parse_config
from kernel_gateway.jenkins.marker import mark, set_of


def told(there: str, wanted: str) -> list[str]:
    """The differences of two jobs in words."""
    found = differences(parse_config(f"<project>{there}</project>"), parse_config(f"<project>{wanted}</project>"))
    return [line for difference in found for line in difference.lines()]


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("<a plugin='x@1'>1</a>", "<a plugin='x'>1</a>"),
        ("<a>1</a><b>2</b>", "<b>2</b>\n\n  <a>1</a>"),
        ("<keepDependencies>false</keepDependencies><triggers/>", ""),
        ("", "<quietPeriod>0</quietPeriod><days>-1</days><description/>"),
        ("<script>a\r\nb</script>", "<script>a\nb</script>"),
        ("<actions><org.example.Action><note>1</note></org.example.Action></actions>", "<actions/>"),
        ("<choices class='java.util.Arrays$ArrayList'><a>1</a></choices>", "<choices><a>1</a></choices>"),
        ("<disabled>true</disabled>", ""),
        ("<properties><a.B/><a.C/></properties>", "<properties><a.C/><a.B/></properties>"),
    ],
)
def test_what_means_the_same_is_no_difference(there: str, wanted: str) -> None:
    assert told(there, wanted) == []


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        ("<a>1</a>", "<a>2</a>", ["a: '1' → '2'"]),
        ("<a>true</a>", "", ["a: 'true' → (none)"]),
        ("", "<a>true</a>", ["a: (none) → 'true'"]),
        ("<a> </a>", "<a>x</a>", ["a: '' → 'x'"]),
        ("<disabled>true</disabled>", "<disabled>false</disabled>", ["disabled: 'true' → 'false'"]),
        ("<d class='x.Old'><s>1</s></d>", "<d class='y.New'><s>1</s></d>", ["d: 'Old' → 'New'"]),
        ("<properties><a.B/></properties>", "", ["properties: 'B' → (none)"]),
        (
            "<builders><a.B/><a.C/></builders>",
            "<builders><a.C/><a.B/></builders>",
            ["builders (order): 'B, C' → 'C, B'"],
        ),
        ("<secret>{AQAAABAAAAAQabcdefghijklmnop=}</secret>", "<secret>x</secret>", ["secret: (encrypted) → 'x'"]),
        ("<s>one\ntwo</s>", "<s>one\n2</s>", ["s:", "  @@ -1,2 +1,2 @@", "   one", "  -two", "  +2"]),
        ("<s>one\ntwo</s>", "<s>one\ntwo\n</s>", ["s:", "  (only the end of the last line differs)"]),
        ("<a>\x1b[31m</a>".replace("\x1b", "&#x1b;"), "<a>1</a>", ["a: '�[31m' → '1'"]),
    ],
)
def test_each_difference_is_told_in_words(there: str, wanted: str, words: list[str]) -> None:
    assert told(there, wanted) == words


def test_a_builder_that_is_gone_is_told_by_its_class_among_others_of_its_kind() -> None:
    shell = "<hudson.tasks.Shell><command>{}</command></hudson.tasks.Shell>"
    two = "<builders>" + shell.format("make") + shell.format("make test") + "</builders>"

    assert told(two, f"<builders>{shell.format('make')}</builders>") == ["builders/Shell#2: 'make test' → (none)"]


def test_what_people_set_on_the_page_goes_along_with_an_update() -> None:
    wanted = parse_config("<project><a/></project>")

    keep_settings_of_people(parse_config("<project><disabled>true</disabled></project>"), wanted)

    assert wanted.findtext("disabled") == "true"


def test_an_answer_that_is_no_xml_is_said_so() -> None:
    with pytest.raises(UnreachableError, match=r"config\.xml of a job can't be read"):
        parse_config("<project>")


def test_the_declaration_of_xml_1_1_is_read_as_jenkins_writes_it() -> None:
    assert parse_config("<?xml version='1.1' encoding='UTF-8'?>\n<project>é</project>").text == "é"


def test_a_marker_is_found_again_and_there_is_only_one() -> None:
    marked = mark("Words.\n", "team-a")

    assert marked.startswith("Words.\n\nThis job is written by `kernel-gateway jobs apply` (set team-a)")
    assert set_of(marked) == "team-a"
    assert set_of(marked.replace("\n", "\r\n") + "\n") == "team-a"
    assert mark(marked, "team-b") == mark("Words.", "team-b")
    assert set_of(mark("", "x")) == "x"


@pytest.mark.parametrize("description", [None, "", "kernel-gateway", "This job is written by hand (set x)."])
def test_other_descriptions_have_no_marker(description: str | None) -> None:
    assert set_of(description) is None


def test_words_behind_the_marker_take_it_away() -> None:
    assert set_of(mark("", "x") + " Not any more.") is None
