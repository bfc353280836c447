"""The plugin's classes compile and do what they should; its file is what Jenkins loads."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.jenkins_plugin.conftest import JAVA, PLUGIN, ROOT

TESTS = PLUGIN / "src/test/java"


def test_classes_without_jenkins_pass_their_own_tests(java_path: str, tmp_path: Path) -> None:
    model = JAVA / "model"
    tests = sorted(TESTS.rglob("*Test.java"))
    javac = ["javac", "-Xlint:all", "-Werror", "--release", "17", "-encoding", "UTF-8", "-proc:none"]
    compiled = subprocess.run(
        [*javac, "-d", str(tmp_path), "-cp", java_path, *map(str, [*sorted(model.glob("*.java")), *tests])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr

    names = [".".join(test.relative_to(TESTS).with_suffix("").parts) for test in tests]
    done = subprocess.run(
        ["java", "-cp", os.pathsep.join([str(tmp_path), java_path]), "org.junit.runner.JUnitCore", *names],
        capture_output=True,
        text=True,
        check=False,
    )

    ran = re.search(r"^OK \((\d+) tests\)$", done.stdout, re.MULTILINE)
    assert ran is not None, done.stdout
    assert int(ran[1]) == sum(test.read_text("utf-8").count("@Test") for test in tests) > 0


def test_manifest_tells_jenkins_what_pom_xml_says(build_plugin: ModuleType) -> None:
    project = build_plugin.read_project()
    content: bytes = build_plugin.manifest(project)

    assert max(len(line) for line in content.split(b"\n")) <= 72
    fields = dict(line.split(": ", 1) for line in content.decode().replace("\r\n ", "").split("\r\n") if line)
    assert fields["Short-Name"] == "kernel-gateway"
    assert fields["Plugin-Version"] == project.version
    assert fields["Jenkins-Version"] == "2.440.3"
    assert fields["Minimum-Java-Version"] == "17"
    dependencies = fields["Plugin-Dependencies"].split(",")
    assert [name.split(":")[0] for name in dependencies] == [
        "structs",
        "credentials",
        "plain-credentials",
        "cloudbees-folder",
    ]
    assert [name for name in dependencies if name.endswith(";resolution:=optional")] == dependencies[-1:]


def built(build_plugin: ModuleType, target: Path) -> Path:
    war = os.environ.get("JENKINS_WAR")
    if not war:
        pytest.skip(
            "no Jenkins to compile against: set JENKINS_WAR to a jenkins.war and JENKINS_PLUGINS to its plugins"
        )
    plugins = os.environ.get("JENKINS_PLUGINS", "~/.jenkins/plugins")
    path: Path = build_plugin.build(Path(war).expanduser(), Path(plugins).expanduser(), target)
    return path


def test_plugin_file_has_all_classes_views_and_extensions(build_plugin: ModuleType, tmp_path: Path) -> None:
    with zipfile.ZipFile(built(build_plugin, tmp_path / "plugin.hpi")) as plugin:
        assert plugin.namelist()[0] == "META-INF/MANIFEST.MF"
        assert "css/kernel-gateway.css" in plugin.namelist()
        jar = zipfile.ZipFile(io.BytesIO(plugin.read("WEB-INF/lib/kernel-gateway.jar")))

    names = set(jar.namelist())
    for source in JAVA.rglob("*.java"):
        assert f"org/kernelgateway/jenkins/{source.relative_to(JAVA).with_suffix('.class').as_posix()}" in names
    for view in (PLUGIN / "src/main/resources").rglob("*.jelly"):
        assert view.relative_to(PLUGIN / "src/main/resources").as_posix() in names
    assert {"org/kernelgateway/run.sh", "org/kernelgateway/bootstrap.py"} <= names
    index = jar.read("META-INF/annotations/hudson.Extension.txt").decode()
    marked = sum(source.read_text("utf-8").count("@Extension") for source in JAVA.rglob("*.java"))
    assert len([line for line in index.splitlines() if not line.startswith("#")]) == marked


def test_same_sources_make_the_same_file(build_plugin: ModuleType, tmp_path: Path) -> None:
    first, second = (built(build_plugin, tmp_path / f"{name}.hpi").read_bytes() for name in ("a", "b"))

    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


# -- what is missing -------------------------------------------------------------------------------------


def build(tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JENKINS_")}
    return subprocess.run(
        [str(ROOT / "scripts" / "build-plugin"), str(tmp_path / "plugin.hpi")],
        env=kept | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_build_without_a_jenkins_says_what_to_set(tmp_path: Path) -> None:
    done = build(tmp_path)

    assert done.returncode == 1
    assert done.stderr == "build-plugin: Set JENKINS_WAR to a jenkins.war, or to a folder that one was unpacked to.\n"


def test_build_against_what_is_no_jenkins_says_so(tmp_path: Path) -> None:
    (tmp_path / "other.war").write_bytes(b"PK")
    (tmp_path / "folder").mkdir()

    assert "is no war or plugin." in build(tmp_path, JENKINS_WAR=str(tmp_path / "other.war")).stderr
    assert "is no Jenkins" in build(tmp_path, JENKINS_WAR=str(tmp_path / "folder")).stderr
    assert "can't be read: No such file" in build(tmp_path, JENKINS_WAR=str(tmp_path / "none.war")).stderr


def test_build_names_a_plugin_that_is_missing(tmp_path: Path) -> None:
    library = tmp_path / "war" / "WEB-INF" / "lib"
    library.mkdir(parents=True)
    zipfile.ZipFile(library / "jenkins-core-2.440.3.jar", "w").close()

    done = build(tmp_path, JENKINS_WAR=str(tmp_path / "war"), JENKINS_PLUGINS=str(tmp_path))

    assert done.returncode == 1
    assert f"There is no plugin structs in {tmp_path}. Set JENKINS_PLUGINS" in done.stderr
