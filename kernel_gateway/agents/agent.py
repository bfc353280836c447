"""What the dispatcher needs of an agent, and which agents there are.

A new agent is a module of this room with a class that has `Agent`'s methods, and a line in `AGENTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from ..errors import UsageError
from ..settings import Settings
from ..store.runs import RunRecord
from .layout import DataFolder

AGENTS = {
    "local": ("local", "LocalAgent"),
    "ray": ("ray.agent", "RayAgent"),
}
"""Scheme of the setting ``agent`` → the module of this room, which may need an extra, and its class."""


class RunnerHandle(Protocol):
    """A run's runner as the dispatcher sees it, wherever it is. Nothing here waits, or raises for one that is gone."""

    @property
    def fds(self) -> list[int]:
        """What turns readable at its end; empty if the agent's own `Agent.fds` tell."""

    @property
    def tells(self) -> bool:
        """Whether the dispatcher is woken when the run begins and starts; else it looks at the event log, often."""

    @property
    def process(self) -> tuple[int, int] | None:
        """Pid and start time of a process of this machine, with which the database names it; None for any other."""

    @property
    def gpus(self) -> list[str]:
        """GPUs that the run holds, by the names that `Agent.state` gives them; grows when they are known."""

    @property
    def ended(self) -> bool:
        """Whether it is gone, and all that it had to say is in the run's folder."""

    @property
    def begun(self) -> bool:
        """Whether it may have done something for its run, so that the run must not be started a second time."""

    def look_after(self) -> None:
        """Called every round: what an agent does by itself about a runner that hangs."""

    def cancel(self) -> bool:
        """Ask it to end its run; false if it is too early for that, and the dispatcher is to ask again."""

    def kill(self) -> None:
        """End it at once."""

    def loss(self) -> str:
        """Why it is lost, as a sentence; asked once it has ended without ending its run."""

    def close(self) -> None:
        """Give back what belongs to it: the run has ended, or is queued again."""


class Agent(Protocol):
    """A place that starts runners. The dispatcher calls it, from one thread; nothing here waits long."""

    @property
    def fds(self) -> list[int]:
        """What to wait for before `step` is worth a call."""

    @property
    def has_slot(self) -> bool:
        """Whether one more run may start."""

    def pause(self) -> float:
        """Seconds until `step` has something to do by itself."""

    def step(self) -> None:
        """One round of the agent's own work."""

    def fits(self, record: RunRecord) -> bool:
        """Whether a run could start now. Decides at once, from the record alone."""

    def start(self, record: RunRecord, secrets: Mapping[str, str]) -> RunnerHandle:
        """Have a run started. Raises OSError or `GatewayError`; nothing is held then, and the run fails."""

    def adopt(self, record: RunRecord) -> RunnerHandle | None:
        """The runner that an earlier dispatcher started; None if there is none any more. It may turn out so later.

        Called for all of them before the first `step`.
        """

    def release(self, run: str) -> None:
        """Give back what a run holds; its runner has ended."""

    def sweep(self) -> None:
        """Remove what killed runners left behind."""

    def state(self) -> dict[str, Any]:
        """What `GET /agents` shows: ``slots``, ``busy``, ``runs``, ``gpus``, ``labels``, ``pool``; JSON values."""

    def close(self) -> None:
        """End what is idle; runners go on."""


def make_agent(settings: Settings, data: DataFolder) -> Agent:
    """The agent that the setting names. Raises `UsageError` for one that there is not."""
    module, name = AGENTS[scheme_of(settings.agent)]
    made = getattr(import_module(f".{module}", __package__), name)(settings, data)
    return cast(Agent, made)


def scheme_of(agent: str) -> str:
    """Which of `AGENTS` a setting names: ``local``, or the scheme of its URL. Raises `UsageError`."""
    scheme, _, rest = agent.partition("://")
    if scheme not in AGENTS or (scheme == "local") != (not rest):
        raise UsageError(f"--agent: {agent!r} is no agent. Write local, ray://HOST:10001 or ray://auto.", field="agent")
    return scheme
