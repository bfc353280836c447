"""Builds the Jenkins plugin from its sources, against the jars of a Jenkins: what `scripts/build-plugin` calls.

What pom.xml says is read from there. The same sources and jars make the same bytes, whatever the time and place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "jenkins-plugin" / "plugin"
NAMESPACE = "{http://maven.apache.org/POM/4.0.0}"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of all entries: the earliest that a zip file can hold."""


class BuildError(Exception):
    """A sentence that says what is missing or wrong."""


@dataclass(frozen=True)
class Dependency:
    """A plugin that this one uses."""

    name: str
    version: str
    optional: bool


@dataclass(frozen=True)
class Project:
    """What pom.xml says; `resources` are folders with the files that count in each, or None for all."""

    group: str
    name: str
    version: str
    title: str
    licence: str
    jenkins: str
    java: str
    dependencies: tuple[Dependency, ...]
    resources: tuple[tuple[Path, tuple[str, ...] | None], ...]


def read_project(folder: Path = PLUGIN) -> Project:
    """Read pom.xml. Raises `BuildError` if something that counts is missing there."""
    pom = ElementTree.parse(folder / "pom.xml").getroot()

    def text(element: ElementTree.Element, path: str) -> str:
        found = element.find("/".join(NAMESPACE + name for name in path.split("/")))
        if found is None or not found.text:
            raise BuildError(f"{folder / 'pom.xml'} has no {path}.")
        return found.text.strip()

    def all_of(path: str) -> list[ElementTree.Element]:
        return pom.findall("/".join(NAMESPACE + name for name in path.split("/")))

    return Project(
        group=text(pom, "groupId"),
        name=text(pom, "artifactId"),
        version=text(pom, "version"),
        title=text(pom, "name"),
        licence=text(pom, "licenses/license/name"),
        jenkins=text(pom, "properties/jenkins.version"),
        java=text(pom, "properties/maven.compiler.release"),
        dependencies=tuple(
            Dependency(
                name=text(element, "artifactId"),
                version=text(element, "version"),
                optional=element.findtext(NAMESPACE + "optional") == "true",
            )
            for element in all_of("dependencies/dependency")
        ),
        resources=tuple(
            (
                (folder / text(element, "directory")).resolve(),
                tuple(include.text or "" for include in element.iter(NAMESPACE + "include")) or None,
            )
            for element in all_of("build/resources/resource")
        ),
    )


def manifest(project: Project) -> bytes:
    """The manifest that Jenkins reads. Source: what maven-hpi-plugin writes."""
    dependencies = ",".join(
        f"{one.name}:{one.version}" + (";resolution:=optional" if one.optional else "") for one in project.dependencies
    )
    fields = {
        "Manifest-Version": "1.0",
        "Group-Id": project.group,
        "Artifact-Id": project.name,
        "Short-Name": project.name,
        "Long-Name": project.title,
        "Extension-Name": project.name,
        "Implementation-Title": project.title,
        "Implementation-Version": project.version,
        "Plugin-Version": project.version,
        "Jenkins-Version": project.jenkins,
        "Minimum-Java-Version": project.java,
        "Plugin-Dependencies": dependencies,
        "Plugin-License-Name": project.licence,
        "Support-Dynamic-Loading": "true",
    }
    return b"".join(_wrapped(f"{name}: {value}") for name, value in fields.items()) + b"\r\n"


def _wrapped(line: str) -> bytes:
    """A line of a manifest has 72 bytes at most, its end included; what follows begins with a space."""
    rest, pieces = line.encode("ascii"), []
    while rest:
        room = 70 if not pieces else 69
        pieces.append(rest[:room])
        rest = rest[room:]
    return b"\r\n ".join(pieces) + b"\r\n"


def class_path(war: Path, plugins: Path, project: Project, scratch: Path) -> list[Path]:
    """The jars to compile against: those of the war, its servlet API, and those of the plugins."""
    if not war.is_dir():
        war = _unpacked(war, scratch / "war")
    jars = sorted((war / "WEB-INF" / "lib").glob("*.jar"))
    if not any(jar.name.startswith("jenkins-core-") for jar in jars):
        raise BuildError(f"{war} is no Jenkins: there is no WEB-INF/lib/jenkins-core-*.jar. Set JENKINS_WAR.")
    servlet = [jar for jar in (war / "executable" / "winstone.jar", war / "winstone.jar") if jar.is_file()]
    jars += servlet
    for dependency in project.dependencies:
        jars += _plugin_jars(plugins, dependency, scratch)
    return jars


def _plugin_jars(plugins: Path, dependency: Dependency, scratch: Path) -> list[Path]:
    for suffix in (".jpi", ".hpi"):
        if (file := plugins / f"{dependency.name}{suffix}").is_file():
            return sorted((_unpacked(file, scratch / dependency.name) / "WEB-INF" / "lib").glob("*.jar"))
    if jars := sorted((plugins / dependency.name / "WEB-INF" / "lib").glob("*.jar")):
        return jars
    raise BuildError(f"There is no plugin {dependency.name} in {plugins}. Set JENKINS_PLUGINS to a folder that has it.")


def _unpacked(archive: Path, target: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as file:
            wanted = [name for name in file.namelist() if name.endswith(".jar")]
            file.extractall(target, wanted)
    except OSError as error:
        raise BuildError(f"{archive} can't be read: {error.strerror}.") from None
    except zipfile.BadZipFile:
        raise BuildError(f"{archive} is no war or plugin.") from None
    return target


def compile_sources(jars: Iterable[Path], project: Project, target: Path) -> None:
    """Compile, with the annotation processors of the jars: they write the index of extensions. Raises `BuildError`."""
    javac = shutil.which("javac", path=os.pathsep.join(_java_folders()))
    if javac is None:
        raise BuildError("There is no javac here. Install a JDK 17 or later, or set JAVA_HOME to one.")
    sources = sorted(str(path) for path in (PLUGIN / "src" / "main" / "java").rglob("*.java"))
    arguments = target.parent / "javac.args"
    words = ["-d", str(target), "--release", project.java, "-encoding", "UTF-8", "-g", "-parameters", "-Xlint:all"]
    # Other people's classes and annotations are not ours to judge.
    words[-1] += ",-processing,-classfile,-serial,-rawtypes,-unchecked,-options"
    words += ["-cp", os.pathsep.join(map(str, jars)), *sources]
    arguments.write_text("\n".join(f'"{word}"' for word in words), encoding="utf-8")
    done = subprocess.run([javac, f"@{arguments}"], capture_output=True, text=True, check=False)
    print(_own_lines(done.stderr), end="", file=sys.stderr)
    if done.returncode:
        raise BuildError("The plugin's sources don't compile; javac's words stand above.")


def _java_folders() -> list[str]:
    home = os.environ.get("JAVA_HOME")
    return [*([str(Path(home) / "bin")] if home else []), *os.environ.get("PATH", "").split(os.pathsep)]


def _own_lines(words: str) -> str:
    """What javac says of these sources: not that annotations of the jars' own classes are not on the path."""
    foreign = ("warning: unknown enum constant", "  reason: class file for javax.annotation", "Note: ")
    lines = [line for line in words.splitlines(keepends=True) if not line.startswith(foreign)]
    return "".join(line for line in lines if not line.strip().endswith("warnings"))


def package(project: Project, classes: Path, target: Path) -> None:
    """Write the plugin's file."""
    jar = classes.parent / f"{project.name}.jar"
    main = manifest(project)
    content = [(path.relative_to(classes).as_posix(), path) for path in _files(classes)]
    for folder, includes in project.resources:
        chosen = [folder / name for name in includes] if includes else _files(folder)
        content += [(path.relative_to(folder).as_posix(), path) for path in chosen]
    _write_zip(jar, main, content)
    webapp = PLUGIN / "src" / "main" / "webapp"
    files = [(path.relative_to(webapp).as_posix(), path) for path in _files(webapp)]
    _write_zip(target, main, [(f"WEB-INF/lib/{jar.name}", jar), *files])


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _write_zip(target: Path, main: bytes, content: Iterable[tuple[str, Path]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(_entry("META-INF/MANIFEST.MF"), main)
        for name, path in sorted(content):
            try:
                file.writestr(_entry(name), path.read_bytes())
            except FileNotFoundError:
                raise BuildError(f"{path} is missing; pom.xml names it.") from None


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def build(war: Path, plugins: Path, target: Path) -> Path:
    """Compile and package; returns the plugin's file. Raises `BuildError`."""
    project = read_project()
    with tempfile.TemporaryDirectory(prefix="kernel-gateway-plugin-") as folder:
        scratch = Path(folder)
        classes = scratch / "classes"
        classes.mkdir()
        compile_sources(class_path(war, plugins, project, scratch), project, classes)
        package(project, classes, target)
    return target


def main(arguments: list[str]) -> int:
    """`JENKINS_WAR=… build_plugin.py [TARGET]`: 0, or 1 with a sentence."""
    war = os.environ.get("JENKINS_WAR")
    plugins = os.environ.get("JENKINS_PLUGINS", "~/.jenkins/plugins")
    target = Path(arguments[0]) if arguments else ROOT / "build" / "kernel-gateway.hpi"
    try:
        if not war:
            raise BuildError("Set JENKINS_WAR to a jenkins.war, or to a folder that one was unpacked to.")
        print(build(Path(war).expanduser(), Path(plugins).expanduser(), target))
    except BuildError as problem:
        print(f"build-plugin: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
