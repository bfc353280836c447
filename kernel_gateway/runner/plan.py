"""Before the first kernel starts: which kernel each cell runs on, and the parameters in their place.

Whatever is wrong with a request shows here, not an hour later in the middle of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import GateError, KernelspecError
from ..gates import Gate, parse_gate
from ..kernels.environments.spec import check_name, language_of
from ..kernels.specs import Kernelspec, Kernelspecs
from ..settings import RunOptions
from ..sources import GATES_PLACE, parameterize, parameters_cell
from ..sources.program import Cell, Program


@dataclass
class Plan:
    """What will run. ``kernels[i]`` is cell i's kernelspec, or None for a cell that does not run; ``remarks``
    go to the log; ``environment``: the packages that the source asks for, if it is they that count.
    """

    program: Program
    default: Kernelspec
    kernels: list[Kernelspec | None]
    gates: list[Gate] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    environment: dict[str, Any] | None = None


def default_kernel(program: Program, options: RunOptions, specs: Kernelspecs) -> tuple[Kernelspec, str]:
    """The program's kernel, and a remark if it is not the one that the source names.

    The user's choice counts first. A name in the source that is not installed here (often that of its
    author's environment) falls back to a kernel of the same language.
    """
    if options.kernel:
        return specs.resolve(options.kernel), ""
    if program.kernel:
        try:
            return specs.resolve(program.kernel), ""
        except KernelspecError:
            fallback = specs.by_language(program.language) if program.language else None
            if fallback is None:
                raise
            return fallback, (
                f"The source asks for kernelspec {program.kernel!r}, which is not installed here; "
                f"{fallback.name!r} runs it, since it is of the same language."
            )
    if program.language:
        return specs.resolve(program.language), ""
    return specs.resolve("python3"), ""


def make_plan(program: Program, options: RunOptions, specs: Kernelspecs) -> Plan:
    """Resolve every kernel and put the parameters in. Raises `UsageError` for anything that can't work."""
    default, remark = default_kernel(program, options, specs)
    program = with_parameters(program, options, specs, default)
    kernels = [_kernel_of(cell, default, specs) for cell in program.cells]
    remarks = [remark] if remark else []
    environment = _environment(program, options, [spec for spec in kernels if spec is not None], default, remarks)
    return Plan(program, default, kernels, _gates(program, options), remarks, environment)


def _environment(
    program: Program, options: RunOptions, kernels: list[Kernelspec], default: Kernelspec, remarks: list[str]
) -> dict[str, Any] | None:
    """The source's own packages, where they count. Raises `KernelspecError` for an environment of no kernel here."""
    if options.env_file:
        check_name(options.env_file)
        language = language_of(options.env_file)
        if not any(_runs_in(spec, language) for spec in kernels):
            raise KernelspecError(
                f"--env makes an environment for {(language or '').title()}, but kernel {default.name!r} is not one of "
                "that.",
                field="env",
            )
        return None
    own = program.environment
    if own is None:
        return None
    if options.kernel:
        remarks.append(
            f"The source asks for packages of its own; kernel {options.kernel!r}, named for the run, has its."
        )
        return None
    if "file" in own:
        check_name(own["file"])
    language = language_of(own["file"]) if "file" in own else "python"
    if any(_runs_in(spec, language) for spec in kernels):
        return own
    if kernels:
        asked = (language or "").title()
        remarks.append(f"The source asks for packages of {asked}, but has no kernel of that language.")
    return None


def _runs_in(spec: Kernelspec, language: str | None) -> bool:
    return spec.takes_interpreter if language == "python" else str(spec.spec.language).lower() == language


def with_parameters(program: Program, options: RunOptions, specs: Kernelspecs, default: Kernelspec) -> Program:
    """The program with its ``injected-parameters`` cell, written in the language of the ``parameters`` cell."""
    if not options.parameters:
        return program
    cell = parameters_cell(program)
    spec = specs.resolve(cell.kernel) if cell is not None and cell.kernel else default
    return parameterize(program, options.parameters, language=spec.language, kernel_name=spec.name)


def _gates(program: Program, options: RunOptions) -> list[Gate]:
    """The gates that were asked for and those of the source, each once."""
    gates = [parse_gate(text) for text in options.gates]
    for index, text in enumerate(program.gates):
        try:
            gates.append(parse_gate(text))
        except GateError as error:
            raise GateError(f"{GATES_PLACE}[{index}] of the source: {error}", field="source") from None
    return list({gate.expression.strip(): gate for gate in gates}.values())


def _kernel_of(cell: Cell, default: Kernelspec, specs: Kernelspecs) -> Kernelspec | None:
    if not cell.is_executable:
        return None
    return specs.resolve(cell.kernel) if cell.kernel else default
