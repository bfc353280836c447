"""Groovy for tests: its compiler, at the version that is in Jenkins, reads pipelines and tells their text literals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

READER = """
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.builder.AstBuilder
import org.codehaus.groovy.control.CompilePhase

def sources = new JsonSlurper().parse(new File(args[0]), 'UTF-8')
def answers = sources.collect { source ->
    try {
        def literals = []
        def nodes = new AstBuilder().buildFromString(CompilePhase.CONVERSION, false, source)
        def visitor = new CodeVisitorSupport() {
            void visitConstantExpression(ConstantExpression expression) {
                if (expression.value instanceof String) {
                    literals << expression.value
                }
            }
        }
        nodes.each { node ->
            if (node instanceof org.codehaus.groovy.ast.ClassNode) {
                node.methods.each { it.code?.visit(visitor) }
            } else {
                node.visit(visitor)
            }
        }
        [literals: literals]
    } catch (Throwable problem) {
        [problem: problem.message ?: problem.toString()]
    }
}
new File(args[1]).setText(JsonOutput.toJson(answers), 'UTF-8')
"""


def parse_groovy(sources: Iterable[str]) -> list[list[str]]:
    """The text literals of each pipeline, as Groovy reads them; one process for all. Fails for what doesn't parse.

    Skips without Groovy, except where KERNEL_GATEWAY_REQUIRE_KERNELS says that nothing may be missing.
    """
    listed = list(sources)
    groovy = shutil.which("groovy")
    if groovy is None:
        if os.environ.get("KERNEL_GATEWAY_REQUIRE_KERNELS"):
            pytest.fail("Groovy is not installed; scripts/setup --kernels does that.")
        pytest.skip("Groovy is not installed")
    with tempfile.TemporaryDirectory() as folder:
        script, given, answer = (Path(folder, name) for name in ("read.groovy", "sources.json", "answers.json"))
        script.write_text(READER, encoding="utf-8")
        given.write_text(json.dumps(listed), encoding="utf-8")
        java = {"JAVA_HOME": str(Path(shutil.which("java") or "/usr/bin/java").resolve().parent.parent)}
        done = subprocess.run(
            [groovy, str(script), str(given), str(answer)],
            env={**os.environ, **java, "JAVA_OPTS": "-Dfile.encoding=UTF-8"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers = json.loads(answer.read_text(encoding="utf-8"))
    for source, one in zip(listed, answers, strict=True):
        assert "problem" not in one, f"{one.get('problem')}\n{source}"
    return [one["literals"] for one in answers]
