"""A Ray cluster as the dispatcher sees it: runs are handed to a connector, and come home as events over HTTP."""

from __future__ import annotations

import contextlib
import logging
import secrets as random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import StorageError, UsageError
from ...events import EventType
from ...kernels.resources import machine_cpus
from ...settings import Settings, is_loopback
from ...store import incoming
from ...store.eventlog import last_event
from ...store.runs import RunRecord
from ..layout import DataFolder
from ..runners import RunnerProcess, Runners
from .claims import Claims
from .link import Link
from .nodes import Ask, Nodes
from .results import Results

log = logging.getLogger("kernel_gateway.agents")

GATEWAY_ID = "gateway.id"
"""File in the data folder with the name by which actors of this gateway are found again."""

PENDING_SECONDS = 600.0
"""How long a run waits in Ray for a node that an autoscaler may add, until it has a claim on those that there are."""


class RayRunner:
    """A `RunnerHandle`: an actor, known by its run. The run has ended when its log says so or the actor is gone."""

    tells = True
    process = None

    def __init__(self, agent: RayAgent, record: RunRecord, folder: Path) -> None:
        self.run = record.id
        self.why = ""
        self.gone = False
        self._agent = agent
        self._folder = folder
        self._size = -1
        self._finished = False
        self._taken_back = False
        self._computing = False
        self._gpus: list[str] = []

    @property
    def fds(self) -> list[int]:
        """None: the agent's tell."""
        return []

    @property
    def gpus(self) -> list[str]:
        """``NODE/ID`` of each, once Ray has placed it; it held them also when its actor has let them go."""
        self._gpus = self._agent.nodes.gpus_of(self.run) or self._gpus
        return self._gpus

    @property
    def begun(self) -> bool:
        """Whether it was told what to do."""
        return incoming.has_begun(self._folder)

    @property
    def ended(self) -> bool:
        """Whether its last event is here and its results are written, or its actor is gone without that."""
        if not self._computing:
            if not self._has_last_event():
                if not self.gone:
                    return False
                # From here on no event comes, so what the log says now is the end of it.
                incoming.revoke(self._folder)
                self._size = -1
                if not self._has_last_event():
                    return True
            incoming.revoke(self._folder)
            self._agent.results.ask(self.run)
            self._computing = True
        return self._agent.results.are_done(self.run)

    def _has_last_event(self) -> bool:
        log_file = self._folder / "events.jsonl"
        with contextlib.suppress(OSError, ValueError):
            size = log_file.stat().st_size
            if size != self._size:
                last = last_event(log_file)
                self._size = size
                self._finished = last is not None and last["type"] == EventType.RUN_FINISHED
        return self._finished

    def look_after(self) -> None:
        """Nothing: Ray tells when its actor is gone."""

    def cancel(self) -> bool:
        """Tell its actor; one that has no place yet, or has not begun, is simply taken back."""
        taken_back = incoming.withdraw(self._folder)
        self._agent.link.tell("kill" if taken_back else "cancel", run=self.run)
        return self._agent.link.connected

    def take_back(self) -> None:
        """End its wish for a place, once."""
        if not self._taken_back and incoming.withdraw(self._folder):
            self._taken_back = True
            self._agent.link.tell("kill", run=self.run)

    def kill(self) -> None:
        """End its actor. Nothing that this sends counts any more."""
        if not self._has_last_event():
            incoming.revoke(self._folder)
        self._agent.link.tell("kill", run=self.run)

    def loss(self) -> str:
        """What Ray or the node said of it."""
        return self.why or "The runner vanished."

    def close(self) -> None:
        """The run has ended, or is queued again."""
        with contextlib.suppress(OSError):
            incoming.revoke(self._folder)


class RayAgent:
    """Nodes of a Ray cluster. Runs that fit are handed over; the others wait in the gateway's own queue."""

    def __init__(self, settings: Settings, data: DataFolder) -> None:
        self._settings = settings
        self._data = data
        self._gateway = gateway_id(data)
        self._handles: dict[str, RayRunner] = {}
        self._runners = Runners(data)
        self._claims: Claims | None = None
        self.link = Link(settings.agent, self._gateway)
        self.nodes = Nodes()
        self.results = Results(self._compute_results, max(1, int(machine_cpus())))

    # -- what the dispatcher asks --------------------------------------------------------------------

    @property
    def fds(self) -> list[int]:
        """What the connector says, the fork server, and the ends of those that compute results."""
        return [*self.link.fds, *self._runners.server.fds, *self.results.fds]

    @property
    def has_slot(self) -> bool:
        """Whether there is a cluster to hand runs to."""
        return self.link.connected

    def pause(self) -> float:
        """Seconds until a connector is to be started or looked at."""
        return self.link.pause()

    def step(self) -> None:
        """Hear what the connector says."""
        self._claims = None  # a new look through the queue
        self._runners.server.poll()
        for said in self.link.hear():
            getattr(self, f"_hear_{said.pop('say')}")(**said)

    def fits(self, record: RunRecord) -> bool:
        """Whether a node has room for it; where nodes can be added, also whether another run may wait for one.

        Asked in the order of the queue: those that wait have the first claim.
        """
        if not self.link.connected:
            return False
        ask = Ask.of(record, self._settings.ray_cpus)
        return self._look().admits(ask) or self.nodes.waiting < self._settings.ray_pending

    def _look(self) -> Claims:
        if self._claims is None:
            self._claims = self.nodes.claims(PENDING_SECONDS if self._settings.ray_pending else 0.0)
        return self._claims

    def start(self, record: RunRecord, secrets: Mapping[str, str]) -> RayRunner:
        """Hand a run over. Its secrets stay here until its runner asks for them. Raises OSError."""
        folder = self._data.run(record.id)
        ask = Ask.of(record, self._settings.ray_cpus)
        order = {
            "run": record.id,
            "url": self._settings.node_url,
            "password": incoming.issue(folder),
            "gateway": self._gateway,
        }
        barred = self._look().barred(ask)
        self._claims = None
        self.nodes.hold(record.id, ask, barred)
        self.link.tell(
            "start",
            run=record.id,
            order=order,
            gpus=ask.gpus,
            cpus=ask.cpus,
            memory=ask.memory,
            selector={**ask.selector, **self._allowed(barred)},
            resources=ask.resources,
        )
        return self._handle(record)

    def _allowed(self, barred: Iterable[str]) -> dict[str, str]:
        """Ray's label selector that leaves out some nodes, and those with another version."""
        bad = [*sorted(barred), *(node.id for node in self.nodes.all.values() if node.problem)]
        return {"ray.io/node-id": f"!in({','.join(bad)})"} if bad else {}

    def adopt(self, record: RunRecord) -> RayRunner:
        """The actor of a run; whether there is one shows when the cluster has answered."""
        self.nodes.hold(record.id, Ask.of(record, self._settings.ray_cpus))
        return self._handle(record)

    def _handle(self, record: RunRecord) -> RayRunner:
        handle = self._handles[record.id] = RayRunner(self, record, self._data.run(record.id))
        return handle

    def _compute_results(self, run: str) -> RunnerProcess:
        arguments = ["results", str(self._data.root), run]
        process = self._runners.start(arguments, self._data.run(run) / "runner.log")
        process.hand(b"")
        return process

    def release(self, run: str) -> None:
        """Its runner has ended."""
        self._claims = None
        self.nodes.release(run)
        self._handles.pop(run, None)

    def sweep(self) -> None:
        """Nothing lies about here: nodes tidy up after themselves."""

    def state(self) -> dict[str, Any]:
        """What `GET /agents` shows."""
        nodes = list(self.nodes.all.values()) if self.link.connected else []
        labels = {label for node in nodes for label in node.shown_labels if not node.problem}
        return {
            "name": self._settings.agent,
            "slots": sum(int(node.resources.get("CPU", 0) / max(self._settings.ray_cpus, 0.01)) for node in nodes),
            "busy": len(self._handles),
            "runs": sorted(self._handles),
            "gpus": self.nodes.gpu_table() if nodes else {},
            "labels": sorted(labels),
            "pool": [],
            "nodes": [node.state() for node in nodes],
            "elastic": self._settings.ray_pending > 0,
            "asking": any(node.probe is None for node in nodes),
            **self.nodes.amounts(),
            "problem": self.link.problem or self.nodes.problem(),
        }

    def close(self) -> None:
        """Leave the cluster; actors go on."""
        self.link.close()
        self.results.close()
        self._runners.close()

    # -- what the connector says ---------------------------------------------------------------------

    def _hear_connected(self, protocol: int) -> None:
        self.link.tell("attach", runs=sorted(self._handles))

    def _hear_nodes(self, nodes: dict[str, Any]) -> None:
        self.nodes.update(nodes)
        if not self._settings.ray_pending:
            # Handed over when there was a node for them, which is gone since: they wait better in our queue.
            for run in self.nodes.hopeless():
                self._handles[run].take_back()

    def _hear_placed(self, run: str, node: str, gpus: list[str], pid: int) -> None:
        self.nodes.place(run, node, gpus)

    def _hear_gone(self, run: str, why: str, absent: bool) -> None:
        handle = self._handles.get(run)
        if handle is not None:
            handle.why, handle.gone = why, True
        self.nodes.release(run)  # also while its results are computed: others may have its place


def gateway_id(data: DataFolder) -> str:
    """The gateway's id: made once, kept in the data folder. Raises `StorageError`."""
    path = data.root / GATEWAY_ID
    try:
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_text(random.token_hex(8))
            part.replace(path)
        return path.read_text().strip()
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror}.") from error


def check(settings: Settings) -> None:
    """Raise `UsageError` for settings with which no run could ever come home."""
    from importlib.util import find_spec
    from urllib.parse import urlsplit

    if find_spec("ray") is None:
        raise UsageError('--agent ray://… needs Ray: pip install "kernel-gateway[ray]".', field="agent")
    cluster = urlsplit(settings.agent).hostname or ""
    home = urlsplit(settings.node_url).hostname or ""
    if is_loopback(home) and not is_loopback(cluster) and cluster != "auto":
        raise UsageError(
            f"Nodes of the cluster at {cluster} can't reach this gateway at {settings.node_url}. Give its address with "
            "--node-url, and have it listen there with --host.",
            field="node_url",
        )
