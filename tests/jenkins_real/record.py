"""What a run of these tests found, as the table and figures that stand in the documentation."""

from __future__ import annotations

import datetime
import platform
from dataclasses import dataclass, field
from pathlib import Path

BEGIN = "<!-- written by scripts/test-jenkins: begin -->"
END = "<!-- written by scripts/test-jenkins: end -->"

SHOWN_PLUGINS = (
    *("workflow-cps", "workflow-job", "workflow-durable-task-step", "durable-task", "pipeline-model-definition"),
    *(
        "pipeline-groovy-lib",
        "git",
        "credentials-binding",
        "junit",
        "htmlpublisher",
        "cloudbees-folder",
        "script-security",
    ),
)


@dataclass
class Record:
    """Versions, cases and figures of one session."""

    jenkins: str = ""
    java: str = ""
    plugins: dict[str, str] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)

    def case(self, node: str, outcome: str) -> None:
        """Keep a test's outcome; a later phase of the same test may only make it worse."""
        words = node.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        if self.cases.get(words) in {None, "passed"}:
            self.cases[words] = outcome

    def figure(self, what: str, measured: str) -> None:
        """Keep a measured figure."""
        self.figures[what] = measured

    def markdown(self, gateway: str) -> str:
        """The block of the documentation."""
        today = datetime.datetime.now(datetime.UTC).date()
        python = f"Python {platform.python_version()}"
        versions = ", ".join(f"{name} {self.plugins[name]}" for name in SHOWN_PLUGINS if name in self.plugins)
        lines = [
            f"{today}: Jenkins {self.jenkins}, {self.java}, {python}, kernel gateway {gateway},",
            f"{len(self.plugins)} plugins: {versions}, and what these need.",
            "",
            "| measured | |",
            "| --- | --- |",
            *(f"| {what} | {measured} |" for what, measured in self.figures.items()),
            "",
            "| case | |",
            "| --- | --- |",
            *(f"| {words} | {outcome} |" for words, outcome in self.cases.items()),
        ]
        return "\n".join(lines)

    def write(self, page: Path, gateway: str) -> None:
        """Put the block into a page, in place of the last one."""
        text = page.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        assert begin, f"{page} has no line {BEGIN}"
        assert end, f"{page} has no line {END}"
        page.write_text(f"{before}{BEGIN}\n{self.markdown(gateway)}\n{END}{after}", encoding="utf-8")
