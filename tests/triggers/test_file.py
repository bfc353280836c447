"""Reading a ``triggers.yaml``: what it means, and how mistakes in it are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import UsageError
from kernel_gateway.jenkins.triggers import values
from kernel_gateway.jenkins.triggers.file import read_file, read_plan
from kernel_gateway.jenkins.triggers.plan import Either, Every, Limits, Plan, Watch
from kernel_gateway.jenkins.triggers.sources import KINDS

ROOT = Path(__file__).parents[2]

WHOLE = """\
jenkins: https://jenkins.example/
user: triggers
triggers:
- name: churn
  job: /ml/retrain
  parameters: {DATA: a.csv, EPOCHS: 20, RATE: 0.5, FAST: false}
  when:
  - data: [a.csv, s3://bucket/b]
    by: content
  - all:
    - age: 1d 12h
    - any:
      - code: src
      - sql: select 1
        database: sqlite:///a.db
  minimal_interval: 6h
  quiet_period: 90s
  max_per_day: 3
  fire_on_first: true
  errors_after: 5
- name: other
  job: other
  when: {alias: "models:/churn@champion"}
"""


def plan(text: str) -> Plan:
    return read_plan(text.encode(), "triggers.yaml", "/data")


def test_a_whole_file() -> None:
    found = plan(WHOLE)
    churn, other = found.triggers

    assert (found.jenkins, found.user, found.folder) == ("https://jenkins.example/", "triggers", "/data")
    assert churn.job == "ml/retrain"
    assert churn.parameters == {"DATA": "a.csv", "EPOCHS": "20", "RATE": "0.5", "FAST": "false"}
    assert churn.limits == Limits(21600.0, 90.0, 3, True, 5)
    assert isinstance(churn.when, Either)
    data, both = churn.when.parts
    assert isinstance(data, Watch)
    assert data.settings == {"data": ["a.csv", "s3://bucket/b"], "by": "content"}
    assert isinstance(both, Every)
    assert [watch.kind for watch in churn.watches()] == ["data", "age", "code", "sql"]
    assert churn.watches()[1].settings["age"] == 129600.0
    assert other.limits == Limits()
    assert [watch.title for watch in other.watches()] == ["alias models:/churn@champion"]


ONE = "triggers:\n- name: churn\n  job: j\n  when:\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the file must hold a list of triggers below the key 'triggers'."),
        ("triggers: []", "line 1: 'triggers' must be a list of at least one trigger."),
        ("triggers:\n- name: a\n   job: b", "line 3: this is no YAML: mapping values are not allowed here."),
        ("trigers: []", "line 1: there is no field 'trigers'; did you mean 'triggers'? There is: jenkins,"),
        ("triggers:\n- nme: a", "line 2: there is no field 'nme'; did you mean 'name'? There is: "),
        ("triggers:\n- name: a\n  job: b", "line 2, trigger 'a': the trigger has no 'when'."),
        ("triggers:\n- name: a\n  name: b", "line 3: 'name' stands there twice."),
        (
            f"{ONE}  - data: a.csv\n    bye: content",
            "line 6, trigger 'churn': data: there is no field 'bye'; did you mean",
        ),
        (f"{ONE}  - dat: a.csv", "there is no kind of condition 'dat'; did you mean 'data'? There is: age, "),
        (f"{ONE}  - data: a.csv\n    age: 3d", "one condition holds 'data' and 'age'; begin each with a dash"),
        (f"{ONE}  - data: 3", "line 5, trigger 'churn': 'data' is 3; it must be a text: put it in quotes."),
        ("triggers:\n- name: a\n  job: ml//b\n  when: {data: c}", "'job' is 'ml//b'; write the job's full name,"),
        (f"{ONE}  - data: []", "'data' is an empty list; name at least one."),
        (f"{ONE}  - data:", "line 5, trigger 'churn': 'data' is empty; it must be a text."),
        (f'{ONE}  - data: "a\\0"', "it holds a character that can't be printed."),
        (
            f"{ONE}  - drift: a\n    reference: models:/churn",
            "line 6, trigger 'churn': drift: 'reference' is 'models:/",
        ),
        (f"{ONE}  - sql: a\n    database: b\n    at_least: -5", "'at_least' is -5; it must be above 0."),
        (f"{ONE}  - age: 30", "'age' is 30; write a number with a unit: 90s, 10m, 6h, 7d or 2w."),
        (f"{ONE}  - age: 0", "'age' is 0; it must be longer than nothing."),
        (f"{ONE}  - age: 1d\n    job: a\n    run: b", "age: give only one of 'run' and 'job'."),
        (f"{ONE}  - sql: select 1", "sql: 'database' is missing."),
        (f"{ONE}  - metric: f1\n    experiment: e", "metric: give one of 'below', 'above', 'falling', 'rising'."),
        (
            f"{ONE}  - metric: f1\n    experiment: e\n    falling: 3",
            "'falling' is 3; it must be a whole number from 5 on.",
        ),
        (
            f"{ONE}  - alias: models:/a/3",
            "'alias' is 'models:/a/3'; a version does not move, write models:/NAME@ALIAS.",
        ),
        (f"{ONE}  - code: a\n    rev: --upload-pack=x", "'rev' is '--upload-pack=x'; no revision begins with a dash."),
        (f"{ONE}  - all: []", "'all' must be a list of at least one condition."),
        (f"{ONE}  - all:\n    - data: a\n    by: content", "there is no field 'by'"),
        (f"{ONE}  - data", "a condition is 'data'; it must be 'KIND: WHAT', e.g. 'data: train.csv'."),
        (f"{ONE}  - data: a\n  max_per_day: 0", "'max_per_day' is 0; it must be a whole number from 1 on."),
        (
            f"{ONE}  - data: a\n  parameters: {{REASON: x}}",
            "parameters: REASON is set by the check itself; leave it out.",
        ),
        (f"{ONE}  - data: a\n  parameters: {{A: [1]}}", "'parameters' has A = [1]; a parameter is a text, a number,"),
        (f"{ONE}  - data: a\n- name: churn\n  job: j\n  when: {{data: b}}", "there is a trigger of this name already"),
    ],
)
def test_a_mistake_is_told_with_line_trigger_and_field(text: str, told: str) -> None:
    with pytest.raises(UsageError, match="^triggers.yaml, " + r"(?:.*)" + re.escape(told)):
        plan(text)


def test_a_mistake_is_told_with_the_line_where_it_stands() -> None:
    sentences = []
    for changed in (
        WHOLE.replace("- code: src", "- code"),
        WHOLE.replace("max_per_day: 3", "max_per_day: 0"),
        WHOLE.replace("max_per", "maximal_per"),
    ):
        with pytest.raises(UsageError) as raised:
            plan(changed)
        sentences.append(str(raised.value))

    assert sentences[0].startswith("triggers.yaml, line 13, trigger 'churn': a condition is 'code'")
    assert sentences[1].startswith("triggers.yaml, line 18, trigger 'churn': 'max_per_day' is 0")
    assert sentences[2].startswith("triggers.yaml, line 18, trigger 'churn': there is no field 'maximal_per_day'")


def test_a_merged_mapping_may_be_changed_in_part() -> None:
    common = "- &common\n  name: a\n  job: j\n  parameters: {A: 1.10}\n  when: {data: a}\n"

    found = plan(f"triggers:\n{common}- <<: *common\n  name: b\n  max_per_day: 2\n")

    assert [(one.name, one.job, one.limits.max_per_day) for one in found.triggers] == [("a", "j", 10), ("b", "j", 2)]
    assert [one.parameters for one in found.triggers] == [{"A": "1.10"}] * 2


def test_parameters_are_the_texts_that_are_written() -> None:
    given = "{A: 1.10, B: 007, C: 12:30, D: 2026-11-21, E: 0.00001, F: 1_000, G: yes, H: '', I: 0x10}"

    (trigger,) = plan(f"{ONE}  - data: a\n  parameters: {given}").triggers

    assert list(trigger.parameters.values()) == (
        ["1.10", "007", "12:30", "2026-11-21", "0.00001", "1_000", "true", "", "0x10"]
    )


def test_aliases_that_multiply_are_a_sentence_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    with pytest.raises(UsageError, match="'data' is a list or mapping of others"):
        plan(f"{ONE}  - data: {{{', '.join(lines)}}}")


def test_conditions_may_not_be_nested_without_end() -> None:
    deep = "{data: a}"
    for _ in range(30):
        deep = f"{{any: [{deep}]}}"

    with pytest.raises(UsageError, match="more than 20 levels deep"):
        plan(f"triggers: [{{name: a, job: b, when: {deep}}}]")


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"{ONE}  - {text}".encode()))
def test_whatever_stands_in_the_file_is_a_plan_or_a_sentence(content: bytes) -> None:
    sentence = ""
    try:
        read_plan(content, "triggers.yaml", "/data")
    except UsageError as error:
        sentence = str(error)

    assert not sentence or sentence.startswith("triggers.yaml, line ")


@given(st.floats(1, 10**8))
def test_durations_are_told_in_a_unit_that_fits(seconds: float) -> None:
    told = values.span(seconds)

    assert re.fullmatch(r"[\d.]+ (s|min|h|days|day)", told)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/triggers.yaml")), ids=str)
def test_the_examples_are_right(path: Path) -> None:
    assert read_file(path).triggers


def test_every_kind_and_each_of_its_fields_stands_in_the_docs() -> None:
    page = (ROOT / "docs" / "triggers.md").read_text(encoding="utf-8")
    described = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+): .*$", page, re.MULTILINE)}

    assert described.keys() == KINDS.keys()
    for kind, row in described.items():
        for name in KINDS[kind].schema.fields:
            assert f"`{name}`" in row or f"`{name}:" in row, (kind, name)
    for name in ("minimal_interval", "quiet_period", "max_per_day", "fire_on_first", "errors_after"):
        assert f"| `{name}` |" in page
