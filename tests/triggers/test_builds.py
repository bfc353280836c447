"""Builds that triggers start on a real Jenkins, or on the recording of one."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import UnreachableError, UsageError
from kernel_gateway.jenkins import connect
from kernel_gateway.jenkins.triggers import starting
from kernel_gateway.jenkins.triggers.builds import LONGEST_REASON, Builds
from tests.jenkins.conftest import FOLDER, TOKEN, USER, played
from tests.jenkins.recording import PlayedJenkins

from .conftest import Bench
from .jenkins_server import Job

__all__ = ["played"]

JOB = f"{FOLDER}/retrain it"

FOLDER_XML = "<com.cloudbees.hudson.plugins.folder.Folder/>"
JOB_XML = """\
<project><disabled>false</disabled><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>
%s</parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties>
<quietPeriod>3600</quietPeriod></project>
"""
STRING = "<hudson.model.StringParameterDefinition><name>%s</name></hudson.model.StringParameterDefinition>"
CHOICE = """\
<hudson.model.ChoiceParameterDefinition><name>SIZE</name><choices class="java.util.Arrays$ArrayList">
<a class="string-array"><string>small</string><string>large</string></a></choices>
</hudson.model.ChoiceParameterDefinition>
"""

TEXT = "Grüße 'an' \"alle\" $HOME & <b>x</b> 100% a+b=c;\n" + "0123456789" * 2_000


@pytest.fixture
def builds(played: PlayedJenkins) -> Builds:
    """Jenkins with a job in a folder whose builds stay in the queue."""
    server = connect(played.url, USER, TOKEN)
    server.create_job(FOLDER, FOLDER_XML)
    names = ("TRIGGER_ID", "REASON", "TEXT")
    server.create_job(JOB, JOB_XML % ("".join(STRING % name for name in names) + CHOICE))
    return Builds(server)


def test_parameters_of_any_size_arrive_whole_and_the_build_is_found_by_its_id(builds: Builds) -> None:
    remarks = builds.check(JOB, {"TEXT": TEXT, "OTHER": ""})
    missing = builds.find(JOB, "20261121-120000-1")
    place = builds.start(JOB, {"TEXT": TEXT, "SIZE": "large"}, "20261121-120000-1", "Trigger t: ü " + "x" * 9000)
    found = builds.find(JOB, "20261121-120000-1")

    (item,) = builds._server.get_queue_info()
    given = {one["name"]: one["value"] for action in item["actions"] for one in action.get("parameters", [])}
    builds._server.cancel_queue(item["id"])
    assert remarks == [f"The job {JOB!r} has no parameter OTHER, so Jenkins drops it."]
    assert missing is None
    assert place.endswith(f"/queue/item/{item['id']}/")
    assert found is not None
    assert given["TEXT"] == TEXT
    assert given["SIZE"] == "large"
    assert given["REASON"].startswith("Trigger t: ü xxx")
    assert len(given["REASON"]) == LONGEST_REASON


def test_a_value_that_a_choice_does_not_have_is_told_before_jenkins_is_asked_for_a_build(builds: Builds) -> None:
    builds.check(JOB, {"SIZE": "small"})

    with pytest.raises(UsageError, match=r"SIZE of the job .* does not take 'huge'; it takes 'small', 'large'"):
        builds.check(JOB, {"SIZE": "huge"})


def test_what_jenkins_can_not_start_is_no_build(builds: Builds) -> None:
    with pytest.raises(UnreachableError, match=r"refuses .*buildWithParameters \(500\)"):
        builds.start(JOB, {"SIZE": "huge"}, "1", "because")

    with pytest.raises(UsageError, match="Jenkins has no job"):
        builds.start(f"{FOLDER}/nobody", {}, "1", "because")
    assert builds.find(JOB, "1") is None


def test_parameters_do_not_stand_in_the_url(bench: Bench) -> None:
    bench.jenkins.jobs["retrain"] = Job(("TRIGGER_ID", "REASON", "TOKEN"))
    (bench.folder / "a.csv").write_text("1")
    bench.write("- data: a.csv", fire_on_first=True, parameters={"TOKEN": "s3cret"})

    bench.check()

    assert bench.jenkins.builds("retrain")[0]["TOKEN"] == "s3cret"
    assert bench.jenkins.asked == ["/job/retrain/buildWithParameters"]


def test_a_start_that_jenkins_refused_is_given_up_once_the_file_says_otherwise(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "SETTLE_SECONDS", 0.01)
    (bench.folder / "a.csv").write_text("1")
    bench.jenkins.jobs["retrain"] = Job(("TRIGGER_ID", "REASON", "SIZE"))
    bench.write("- data: a.csv", fire_on_first=True, parameters={"SIZE": "huge"})
    with monkeypatch.context() as patched:
        patched.setattr(type(bench.jenkins), "build", lambda *_: (400, ""))
        refused = [bench.check(), bench.check()]
    bench.text = bench.text.replace("huge", "large")

    mended = bench.check()

    assert all(one.failure is not None for one in refused)
    assert mended.started
    assert "is given up: the file names another job or other parameters by now" in mended.remarks[0]
    assert [build["SIZE"] for build in bench.jenkins.builds("retrain")] == ["large"]
