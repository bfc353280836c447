"""Which kernelspec a program means, and how its command is run.

`resolve` is called once for every kernel name in a program before anything starts, so that a name that
does not exist costs nobody an hour of training first.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_core.paths import jupyter_path

from ..errors import KernelspecError
from . import python_start
from .quirks import Quirks, quirks_of

LANGUAGE_ALIASES = {
    "py": "python",
    "python3": "python",
    "sh": "bash",
    "shell": "bash",
    "js": "javascript",
    "ts": "typescript",
    "kts": "kotlin",
    "matlab": "octave",
    "m": "octave",
    "sos": "python",
    "ipython": "python",
    "pyspark": "python",
}
"""Names that sources use for a language → the language as kernelspecs spell it."""

FALLBACK_LANGUAGES = {"javascript": "typescript", "typescript": "javascript", "sql": "python"}
"""Language → one whose kernel runs it as well: deno calls itself TypeScript; SQL runs through ipython."""


@dataclass(frozen=True)
class Kernelspec:
    """An installed kernel, ready to start. ``asked`` is the name it was asked for by."""

    name: str
    asked: str
    spec: KernelSpec
    quirks: Quirks

    @property
    def language(self) -> str:
        """Language of the cells that run on it, lower case; ``sql`` when asked for as that."""
        if self.asked.lower() == "sql":
            return "sql"
        return str(self.spec.language).lower()

    @property
    def takes_interpreter(self) -> bool:
        """Whether it may run in another Python environment: a kernel of Python, in Python."""
        return self.python is not None and str(self.spec.language).lower() == "python"

    @property
    def python(self) -> str | None:
        """The interpreter it runs in, if it is one of Python; its packages belong in the provenance."""
        command = self.spec.argv[0] if self.spec.argv and not is_remote(self.spec) else ""
        return command if is_python(command) else None


class Kernelspecs:
    """The kernelspecs installed on this machine, looked up by name, display name or language."""

    def __init__(self, manager: KernelSpecManager | None = None) -> None:
        self._manager = manager or KernelSpecManager(kernel_dirs=kernel_folders())
        self._all: dict[str, KernelSpec] | None = None

    def all(self) -> dict[str, KernelSpec]:
        """Every readable kernelspec by name, read once."""
        if self._all is None:
            self._all = {}
            for name in sorted(self._manager.find_kernel_specs()):
                try:
                    self._all[name] = own_interpreter(self._manager.get_kernel_spec(name))
                except (NoSuchKernel, ValueError, OSError):
                    continue  # a broken kernel.json hides no other kernel
        return self._all

    def resolve(self, name: str) -> Kernelspec:
        """The kernelspec that `name` means: its own name, else display name, else language, in any case.

        Raises `KernelspecError` listing what is installed.
        """
        found = self._by_name(name) or self._by_display_name(name) or self._by_language(name)
        if found is None:
            known = sorted(self.all())
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise KernelspecError(
                f"No kernelspec {name!r} is installed.{hint} Installed: {', '.join(known) or 'none'}.", field="kernel"
            )
        return self._kernelspec(found, name)

    def by_language(self, language: str) -> Kernelspec | None:
        """A kernelspec for a language, or None."""
        found = self._by_language(language)
        return None if found is None else self._kernelspec(found, language)

    def _kernelspec(self, name: str, asked: str) -> Kernelspec:
        spec = self._get(name)
        return Kernelspec(name, asked, spec, quirks_of(spec, asked))

    def _get(self, name: str) -> KernelSpec:
        if self._all is not None and name in self._all:
            return self._all[name]
        return own_interpreter(self._manager.get_kernel_spec(name))

    def _by_name(self, name: str) -> str | None:
        try:
            self._manager.get_kernel_spec(name)
        except (NoSuchKernel, ValueError, OSError):
            lower = name.lower()
            return next((known for known in self.all() if known.lower() == lower), None)
        return name

    def _by_display_name(self, name: str) -> str | None:
        lower = name.lower()
        return next((known for known, spec in self.all().items() if spec.display_name.lower() == lower), None)

    def _by_language(self, name: str) -> str | None:
        language = LANGUAGE_ALIASES.get(name.lower(), name.lower())
        for wanted in filter(None, (language, FALLBACK_LANGUAGES.get(language))):
            names = [known for known, spec in self.all().items() if str(spec.language).lower() == wanted]
            if names:
                # python3 before any other Python, and the same for the shortest of other languages
                return min(names, key=lambda known: (known != "python3", len(known), known))
        return None


def kernel_folders() -> list[str]:
    """Where Jupyter looks for kernelspecs: the manager's own default, which would import all of IPython to tell."""
    ipython = os.environ.get("IPYTHONDIR") or os.path.join(os.path.expanduser("~"), ".ipython")
    return [*jupyter_path("kernels"), os.path.join(ipython, "kernels")]


def own_interpreter(spec: KernelSpec) -> KernelSpec:
    """The spec with a bare ``python`` as its command replaced by that of the environment it is installed in.

    pip writes such kernelspecs; whichever Python is first on the PATH is seldom the right one.
    """
    argv = list(spec.argv)
    if is_remote(spec):
        return spec
    if argv and os.sep not in argv[0] and argv[0].startswith("python"):
        # <prefix>/share/jupyter/kernels/<name>
        folder = Path(spec.resource_dir)
        prefix = folder.parents[3] if len(folder.parents) > 3 else folder
        for command in (prefix / "bin" / argv[0], prefix / "bin" / "python"):
            if command.exists():
                argv[0] = str(command)
                break
    return with_argv(spec, argv)


def with_argv(spec: KernelSpec, argv: list[str]) -> KernelSpec:
    """The spec with another command."""
    changed: dict[str, Any] = spec.to_dict()
    changed["argv"] = argv
    return KernelSpec(resource_dir=spec.resource_dir, **changed)


def with_interpreter(kernelspec: Kernelspec, python: Path) -> Kernelspec:
    """A kernel of Python run by another environment's interpreter, for `--env`; any other kernel as it is.

    Kernels of other languages that are written in Python (bash, Octave) keep their own.
    """
    if not kernelspec.takes_interpreter:
        return kernelspec
    return replace(kernelspec, spec=with_argv(kernelspec.spec, [str(python), *kernelspec.spec.argv[1:]]))


def lossless(argv: list[str]) -> list[str]:
    """A Python kernel's command by way of `python_start`; any other command as it is.

    Options of the interpreter stay in front. Commands of another form (``-c``, a bare interpreter) are left alone.
    """
    if not argv or not is_python(argv[0]):
        return argv
    for index, word in enumerate(argv[1:], 1):
        if word == "-m" or not word.startswith("-"):
            return [*argv[:index], python_start.__file__, *argv[index:]]
        if word in ("-c", "-W", "-X"):
            break
    return argv


def is_remote(spec: KernelSpec) -> bool:
    """Whether a provisioner of its own starts it (Kubernetes, Docker, SSH …): its command is none of this machine's."""
    stanza = spec.metadata.get("kernel_provisioner") or {}
    return bool(stanza.get("provisioner_name", "local-provisioner") != "local-provisioner")


def is_python(command: str) -> bool:
    """Whether a command is a Python interpreter, by its name."""
    return os.path.basename(command).startswith("python")


class OneSpec(KernelSpecManager):
    """Hands the manager the spec as resolved, not as it lies on disk."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__(kernel_dirs=[])
        self._spec = spec

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return self._spec
