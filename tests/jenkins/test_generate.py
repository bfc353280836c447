"""`jobs generate`: the YAML renders, the Jenkinsfile is Groovy, and both say what the notebook says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from kernel_gateway.cli.jobs import jobs
from kernel_gateway.jenkins.generating import Generated, Place, generate
from kernel_gateway.jenkins.rendering import RenderedJob, render_jobs
from kernel_gateway.sources import load_source
from tests.jenkins.groovy import parse_groovy
from tests.jenkins.test_parameters import notebook

ROOT = Path(__file__).parent.parent.parent
PLACE = Place(
    notebook="nb/train.ipynb", repository="https://git.example/ml.git", branch="main", script="jobs/train.Jenkinsfile"
)
PARAMETERS = "properties/hudson.model.ParametersDefinitionProperty/parameterDefinitions/*"
HOSTILE = """'); sh 'rm -rf /' // ''' "\"" $HOME ${7*7} \\u0041 \\users C:\\ {x} {{y}} {% z %} <b>ünï 🎉 !include: x"""
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"], include_characters="\n\t"), max_size=60
)
PHASES = (Phase.explicit, Phase.generate)  # a smaller example of a batch tells no more, and takes minutes
NAMES = st.from_regex(r"[a-z_äöß][a-z0-9_]{0,12}", fullmatch=True).filter(str.isidentifier)


def rendered(made: Generated, folder: Path) -> RenderedJob:
    """The job that the generated YAML renders to."""
    (folder / "jobs.yaml").write_text(made.yaml, encoding="utf-8")
    (job,) = render_jobs([folder / "jobs.yaml"], owner="x")
    return job


def run(*arguments: str) -> Result:
    return CliRunner().invoke(jobs, ["generate", *arguments], catch_exceptions=False)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with the training example, as the current folder."""
    for command in (
        ["git", "init", "--quiet", "--initial-branch", "work", "."],
        ["git", "remote", "add", "origin", "https://user:hush@git.example/ml.git"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "nb").mkdir()
    (tmp_path / "nb" / "train.ipynb").write_bytes((ROOT / "examples" / "train.ipynb").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_training_example_becomes_a_job_that_fetches_its_jenkinsfile(clone: Path) -> None:
    done = run("nb/train.ipynb")

    assert done.exit_code == 0, done.stderr
    (job,) = render_jobs([clone / "jobs"], owner="x")
    root = job.root
    assert job.name == "train"
    assert root.findtext(".//scriptPath") == "jobs/train.Jenkinsfile"
    assert root.findtext(".//hudson.plugins.git.UserRemoteConfig/url") == "https://git.example/ml.git"
    assert root.findtext(".//hudson.plugins.git.BranchSpec/name") == "*/work"
    assert root.find(".//hudson.plugins.git.extensions.impl.WipeWorkspace") is None  # baselines stay
    assert "Sections: Data · Training · Judgement on unseen images · The model" in root.findtext("description", "")
    defaults = {one.findtext("name"): one.findtext("defaultValue") for one in root.findall(PARAMETERS)}
    assert defaults["epochs"] == "20"
    text = (clone / "jobs" / "train.Jenkinsfile").read_text(encoding="utf-8")
    parse_groovy([text])
    assert "stage('Handwritten digits: train and judge a classifier')" in text
    assert "notebook: 'nb/train.ipynb'," in text
    assert "values['epochs'] = wholeNumber('epochs')" in text
    assert "6 parameters" in done.stderr
    assert "hush" not in text + done.stderr + (clone / "jobs" / "train.yaml").read_text(encoding="utf-8")


def test_files_that_are_there_are_written_over_by_force_only(clone: Path) -> None:
    assert run("nb/train.ipynb").exit_code == 0
    file = clone / "jobs" / "train.Jenkinsfile"
    file.write_text("mine")

    refused = run("nb/train.ipynb")

    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert "is there already; --force writes over it" in refused.stderr
    assert run("nb/train.ipynb", "--force").exit_code == 0
    assert file.read_text() != "mine"


def test_options_name_job_repository_branch_and_credentials(clone: Path) -> None:
    arguments = ["--name", "churn", "--repository", "git@host:ml.git", "--branch", "dev", "--credentials", "key"]

    assert run("nb/train.ipynb", "--output-dir", "ci/jobs", *arguments).exit_code == 0

    (job,) = render_jobs([clone / "ci" / "jobs"], owner="x")
    assert job.name == "churn"
    for text in ("git@host:ml.git", "*/dev", "<credentialsId>key</credentialsId>", "ci/jobs/churn.Jenkinsfile"):
        assert text in job.config


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ipynb"], "none.ipynb can't be read: No such file or directory."),
        (["nb/train.ipynb", "--output-dir", "/elsewhere"], "must be in one repository"),
        (["nb/train.ipynb", "--name", "a?b"], "can't be the name of a Jenkins job"),
        (["nb/train.ipynb", "--name", "a/b"], "--name is the job's own name"),
    ],
)
def test_what_is_wrong_is_a_sentence(clone: Path, arguments: list[str], words: str) -> None:
    done = run(*arguments)

    assert (done.exit_code, words in done.stderr) == (2, True), done.stderr
    assert not (clone / "jobs").exists()


def test_outside_a_clone_the_repository_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("# %% [markdown]\n# # Title\n# %% tags=['parameters']\nn = 1\n")

    refused = run("a.py")

    assert (refused.exit_code, "give --repository URL" in refused.stderr) == (2, True)
    assert run("a.py", "--repository", "https://git.example/x.git").exit_code == 0


def test_parameters_that_builds_cant_set_are_told(clone: Path) -> None:
    (clone / "a.py").write_text("# %% tags=['parameters']\nn = 1\nlayers = [1, 2]\n")

    done = run("a.py")

    assert "layers is no parameter of the build: a build's form has no field for such a value." in done.stderr
    assert "'layers'" not in (clone / "jobs" / "a.Jenkinsfile").read_text(encoding="utf-8")


def test_every_kind_has_its_field_and_its_check(tmp_path: Path) -> None:
    source = "\n".join(
        [
            "flag = True",
            "n = 1",
            "r = 0.5",
            "s = 'a'",
            "t = 'a\\nb'",
            "c: Literal['x', 'y'] = 'y'",
            "o: int | None = None",
        ]
    )
    made = generate(notebook(("code", source)), PLACE)

    fields = {one.findtext("name"): one for one in rendered(made, tmp_path).root.findall(PARAMETERS)}

    kinds = {name: one.tag.removeprefix("hudson.model.") for name, one in fields.items()}
    assert kinds == {
        "flag": "BooleanParameterDefinition",
        "n": "StringParameterDefinition",
        "r": "StringParameterDefinition",
        "s": "StringParameterDefinition",
        "t": "TextParameterDefinition",
        "c": "ChoiceParameterDefinition",
        "o": "StringParameterDefinition",
    }
    assert [choice.text for choice in fields["c"].iter("string")] == ["y", "x"]  # the first is the default
    assert fields["o"].findtext("description") == "(a whole number) Empty: the notebook's own default."
    for line in ("values['flag'] = params['flag']", "values['r'] = number('r')", "values['t'] = lines('t')"):
        assert line in made.jenkinsfile
    parse_groovy([made.jenkinsfile])


def test_a_notebook_without_parameters_makes_the_smallest_pipeline(tmp_path: Path) -> None:
    made = generate(load_source(b"print(1)", name="a b", path=None, suffix=""), PLACE)

    assert made.name == "a-b"
    assert "params" not in made.jenkinsfile
    assert rendered(made, tmp_path).root.find("properties/hudson.model.ParametersDefinitionProperty") is None
    parse_groovy([made.jenkinsfile])


def made_of(title: str, name: str, value: str, help: str, *, job: str = "job") -> Generated:
    """What is generated for a notebook that holds these."""
    comment = " ".join(help.split())
    program = notebook(("markdown", f"# {title}\n\n## {help}\n"), ("code", f"{name} = {value!r}  # {comment}"))
    place = Place(
        notebook=f"nb/{' '.join(title.split())}.ipynb", repository=value or "x", branch="main", script="x.Jenkinsfile"
    )
    return generate(program, place, name=job)


@settings(max_examples=3, deadline=None, suppress_health_check=[*HealthCheck], phases=PHASES)
@example(
    texts=[
        (HOSTILE, "x", HOSTILE, HOSTILE),
        ("\\u", "x", "\\", "\\u00"),
        ("x", "x", "{", "}}"),
        ("x", "x", "!j2: {{ 1 }}", "choices: a, b"),
        ("", "x", "", ""),
        ("*/", "x", "*/ /* '''", "*/"),
    ]
)
@given(texts=st.lists(st.tuples(TEXTS, NAMES, TEXTS, TEXTS), min_size=20, max_size=40))
def test_any_notebook_gives_yaml_that_renders_and_groovy_in_which_nothing_of_it_is_code(
    texts: list[tuple[str, str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = [made_of(*one, job=f"job-{number:03}") for number, one in enumerate(texts)]
    harmless = [made_of("T", name, "a\nb" if "\n" in value else "a", "h") for _, name, value, _ in texts]
    folder = tmp_path_factory.mktemp("any")
    for one in made:
        (folder / f"{one.name}.yaml").write_text(one.yaml, encoding="utf-8")

    jobs = render_jobs([folder], owner="x")
    literals = parse_groovy(one.jenkinsfile for one in [*made, *harmless])

    for (_, _, value, _), one, job in zip(texts, made, jobs, strict=True):
        assert job.root.findtext(".//hudson.plugins.git.UserRemoteConfig/url") == (value or "x")
        assert "<" not in job.root.findtext("description", "")
        assert [parameter.default for parameter in one.parameters] == [value]
        assert (job.root.findtext(f"{PARAMETERS}/defaultValue") or "") == value
    for (title, *_), mine, other in zip(texts, literals, literals[len(made) :], strict=False):
        assert f"nb/{' '.join(title.split())}.ipynb" in mine
        assert len(mine) == len(other)
