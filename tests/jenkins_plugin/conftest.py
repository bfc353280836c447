"""The plugin's sources as the tests read them, and the Java that compiles those which need no Jenkins."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REQUIRE_KERNELS

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "jenkins-plugin" / "plugin"
JAVA = PLUGIN / "src/main/java/org/kernelgateway/jenkins"
FORMS = PLUGIN / "src/main/resources/org/kernelgateway/jenkins"

LIBRARIES = ("groovy-all", "junit4", "hamcrest-core")
"""Debian's jars that the classes without Jenkins, and their tests, are compiled against."""


@pytest.fixture(scope="session")
def build_plugin() -> ModuleType:
    """`scripts/build_plugin.py` as a module."""
    path = ROOT / "scripts" / "build_plugin.py"
    spec = importlib.util.spec_from_file_location("build_plugin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_plugin"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def java_path() -> str:
    """The class path for `javac` and `java`; without a JDK and the jars the test is skipped, and fails in CI."""
    jars = [Path("/usr/share/java") / f"{name}.jar" for name in LIBRARIES]
    missing = [name for name in ("javac", "java") if shutil.which(name) is None]
    missing += [str(jar) for jar in jars if not jar.is_file()]
    if missing:
        reason = f"{', '.join(missing)} missing; `scripts/setup --kernels` installs JDK, Groovy and JUnit"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return os.pathsep.join(map(str, jars))


def setters(source: str) -> set[str]:
    """What a class takes from a form or a pipeline: the fields of its data-bound setters and constructor."""
    found = {name[0].lower() + name[1:] for name in re.findall(r"@DataBoundSetter\s+public void set(\w+)\(", source)}
    for parameters in re.findall(r"@DataBoundConstructor\s+public \w+\(([^)]*)\)", source):
        found |= set(re.findall(r"(\w+)\s*(?:,|$)", parameters))
    return found


def step_setters() -> set[str]:
    """Those of "Run on a kernel", whose options stand in two classes."""
    return setters((JAVA / "KernelRunOptions.java").read_text("utf-8")) | setters(
        (JAVA / "KernelRunStep.java").read_text("utf-8")
    )
