"""The gate notebooks that ship with the gateway: programs that measure a model or data and report what gates need.

They are run by name, ``kernel-gateway run gate:fairness``. Each is a notebook in the folder ``notebooks``; a new one is
one more file there.
"""

from __future__ import annotations

from importlib import resources

from ..errors import UsageError

PREFIX = "gate:"
"""Begin of the source's name; a file that really is called so is named with its folder, ``./gate:fairness``."""


def ready_made() -> list[str]:
    """Names of all ready-made gates, sorted."""
    folder = resources.files(__package__).joinpath("notebooks")
    return sorted(file.name.removesuffix(".ipynb") for file in folder.iterdir() if file.name.endswith(".ipynb"))


def ready_made_notebook(source: str) -> tuple[bytes, str]:
    """The notebook that ``gate:NAME`` stands for, and the run's name. Raises `UsageError` that lists what there is."""
    name = source.removeprefix(PREFIX)
    known = ready_made()
    if name not in known:
        what = f"There is no ready-made gate {name!r}." if name else "Name a ready-made gate."
        raise UsageError(f"{what} There are: {', '.join(PREFIX + word for word in known)}.", field="source")
    content = resources.files(__package__).joinpath("notebooks", f"{name}.ipynb").read_bytes()
    return content, f"gate-{name}"
