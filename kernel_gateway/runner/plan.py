"""Before the first kernel starts: which kernel each cell runs on, and the parameters in their place.

Whatever is wrong with a request shows here, not an hour later in the middle of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import GateError, KernelspecError
from ..gates import Gate, parse_gate
from ..kernels.specs import Kernelspec, Kernelspecs
from ..settings import RunOptions
from ..sources import GATES_PLACE, parameterize, parameters_cell
from ..sources.program import Cell, Program


@dataclass
class Plan:
    """What will run. ``kernels[i]`` is cell i's kernelspec, or None for a cell that does not run; ``remarks``
    go to the log.
    """

    program: Program
    default: Kernelspec
    kernels: list[Kernelspec | None]
    gates: list[Gate] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


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
    if options.env_file and not any(spec.takes_interpreter for spec in kernels if spec is not None):
        raise KernelspecError(
            f"--env makes an environment for Python, but kernel {default.name!r} is not one of Python.", field="env"
        )
    return Plan(program, default, kernels, _gates(program, options), [remark] if remark else [])


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
