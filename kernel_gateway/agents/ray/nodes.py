"""The nodes of a cluster as the gateway counts them: what each has, what our runs hold of it, and which can be used.

Ray decides where a run goes. This only keeps the queue here: a run is handed over when a node has room for it by what
our own runs hold. Others' use of the cluster is not seen; then the run waits in Ray, and counts as starting meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ... import __version__
from ...store.records import RunRecord
from . import PROTOCOL
from .claims import Claims, Room

TINY = 0.001
"""How much of a custom resource a run takes whose label it is: the same for each, so that it limits nothing."""

_OWN = ("CPU", "GPU", "memory", "object_store_memory")


@dataclass(frozen=True)
class Ask:
    """What a run takes of a node. ``memory`` in bytes; ``label`` as `--label` has it."""

    gpus: int
    cpus: float
    memory: int
    label: str | None

    @classmethod
    def of(cls, record: RunRecord, cpus: float) -> Ask:
        """What a run asks for; `cpus` if it names none."""
        return cls(record.gpus, record.cpus or cpus, record.memory, record.label)

    @property
    def selector(self) -> dict[str, str]:
        """Ray's label selector: of ``--label KEY=VALUE``."""
        key, equals, value = (self.label or "").partition("=")
        return {key: value} if equals else {}

    @property
    def resources(self) -> dict[str, float]:
        """Ray's custom resources: of ``--label WORD``."""
        return {self.label: TINY} if self.label and "=" not in self.label else {}


@dataclass
class Node:
    """One node that lives. ``holders``: run → what it takes, ``gpu_holders``: Ray's GPU id → run."""

    id: str
    address: str
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    probe: Mapping[str, Any] | None
    holders: dict[str, Ask] = field(default_factory=dict)
    gpu_holders: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its address."""
        return self.address

    @property
    def problem(self) -> str:
        """Why it can't be used, as a sentence; empty if it can."""
        if self.probe is None:
            return f"Node {self.name} has not told its versions yet."
        if self.probe["version"] is None:
            return (
                f"Node {self.name} can't import kernel-gateway ({self.probe['problem']}); this gateway is "
                f"{__version__}. Install kernel-gateway[ray]=={__version__} on the node."
            )
        if (self.probe["version"], self.probe["protocol"]) != (__version__, PROTOCOL):
            return (
                f"Node {self.name} has kernel-gateway {self.probe['version']}, this gateway is {__version__}. "
                "Install the same version on both."
            )
        return f"Node {self.name} can't run anything: {self.probe['problem']}." if self.probe["problem"] else ""

    @property
    def shown_labels(self) -> list[str]:
        """What `--label` may name."""
        named = [f"{key}={value}" for key, value in self.labels.items() if key != "ray.io/node-id"]
        custom = [name for name in self.resources if name not in _OWN and ":" not in name]
        return sorted(named + custom)

    def suits(self, ask: Ask) -> bool:
        """Whether the node could ever run it."""
        return (
            not self.problem
            and (ask.label is None or ask.label in self.shown_labels)
            and ask.gpus <= self.resources.get("GPU", 0)
            and ask.cpus <= self.resources.get("CPU", 0)
            and ask.memory <= self.resources.get("memory", 0)
        )

    def room(self) -> Room:
        """What our runs leave of it."""
        room = Room(*(self.resources.get(name, 0) for name in ("GPU", "CPU", "memory")))
        for ask in self.holders.values():
            room.take(ask)
        return room

    def has_room(self, ask: Ask) -> bool:
        """Whether it could run it now, beside what our runs hold."""
        return self.suits(ask) and self.room().holds(ask)

    def state(self) -> dict[str, Any]:
        """What `GET /agents` shows of it."""
        return {
            "name": self.name,
            "id": self.id,
            "cpus": self.resources.get("CPU", 0),
            "gpus": int(self.resources.get("GPU", 0)),
            "memory": int(self.resources.get("memory", 0)),
            "labels": self.shown_labels,
            "runs": sorted(self.holders),
            "version": (self.probe or {}).get("version"),
            "problem": self.problem,
        }


class Nodes:
    """All nodes, and the runs that were handed over: each holds its part of a node, at first of one that we guess."""

    def __init__(self) -> None:
        self.all: dict[str, Node] = {}
        self._asks: dict[str, Ask] = {}
        self._barred: dict[str, frozenset[str]] = {}
        self._since: dict[str, float] = {}
        self._places: dict[str, tuple[str, list[str]]] = {}
        self._nowhere: list[str] = []

    def update(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """What Ray says that there is."""
        self.all = {id: Node(id, **seen) for id, seen in sorted(nodes.items(), key=lambda item: item[1]["address"])}
        self._recount()

    def hold(self, run: str, ask: Ask, barred: frozenset[str] = frozenset()) -> None:
        """A run was handed over; Ray was told not to choose the nodes that are `barred` to it."""
        self._asks[run], self._barred[run], self._since[run] = ask, barred, time.monotonic()
        self._recount()

    def place(self, run: str, node: str, gpus: list[str]) -> None:
        """Ray has put it on a node."""
        if run in self._asks:
            self._places[run] = (node, gpus)
            self._recount()

    def release(self, run: str) -> None:
        """It holds nothing any more."""
        for known in (self._asks, self._barred, self._since, self._places):
            known.pop(run, None)
        self._recount()

    def _recount(self) -> None:
        """Who holds what: first the runs that Ray has placed, then a guess for the others, so that two never share."""
        for node in self.all.values():
            node.holders.clear()
            node.gpu_holders.clear()
        for run, (id, gpus) in self._places.items():
            if id in self.all:
                self.all[id].holders[run] = self._asks[run]
                self.all[id].gpu_holders.update(dict.fromkeys(gpus, run))
        self._nowhere = []
        for run in [run for run in self._asks if run not in self._places]:
            ask, barred = self._asks[run], self._barred[run]
            guess = next((node for node in self.all.values() if node.id not in barred and node.has_room(ask)), None)
            if guess is not None:
                guess.holders[run] = ask
            else:
                self._nowhere.append(run)

    @property
    def waiting(self) -> int:
        """How many runs were handed over that Ray has put nowhere yet."""
        return len(self._asks) - len(self._places)

    def hopeless(self) -> list[str]:
        """The runs that Ray has put nowhere and for which there is no node, now that all have told their versions."""
        if not self.all or any(node.probe is None for node in self.all.values()):
            return []
        return [
            run
            for run in self._nowhere
            if not any(node.suits(self._asks[run]) and id not in self._barred[run] for id, node in self.all.items())
        ]

    def claims(self, patience: float = 0.0) -> Claims:
        """A new look through the queue. Before it come the runs that Ray has for more than `patience` seconds and has
        no room for.
        """
        since = time.monotonic() - patience
        waiting = [self._asks[run] for run in self._nowhere if self._since[run] <= since]
        return Claims(self.all.values(), waiting)

    def gpus_of(self, run: str) -> list[str]:
        """``NODE/ID`` of the GPUs that a run holds."""
        id, gpus = self._places.get(run, ("", []))
        node = self.all.get(id)
        return [f"{node.name if node is not None else id[:12]}/{gpu}" for gpu in gpus]

    def has_room(self, ask: Ask) -> bool:
        """Whether a node could run it now."""
        return any(node.has_room(ask) for node in self.all.values())

    def amounts(self) -> dict[str, Any]:
        """CPUs and memory of all nodes, and who holds how much."""
        nodes = self.all.values()
        total = {"cpus": sum(node.resources.get("CPU", 0) for node in nodes)}
        total["memory"] = sum(node.resources.get("memory", 0) for node in nodes)
        held = {"cpus": sum(ask.cpus for ask in self._asks.values())}
        held["memory"] = sum(ask.memory for ask in self._asks.values())
        return {
            **{name: {"total": total[name], "free": max(0, total[name] - held[name])} for name in total},
            "holders": [
                {"run": run, "gpus": self.gpus_of(run), "cpus": ask.cpus, "memory": ask.memory}
                for run, ask in sorted(self._asks.items())
            ],
        }

    def gpu_table(self) -> dict[str, str | None]:
        """Each GPU, ``NODE/ID``, and the run that holds it."""
        table: dict[str, str | None] = {}
        for node in self.all.values():
            count = int(node.resources.get("GPU", 0))
            ids = sorted({*node.gpu_holders, *map(str, range(count))}, key=lambda id: (len(id), id))
            for gpu in ids:
                table[f"{node.name}/{gpu}"] = node.gpu_holders.get(gpu)
        return table

    def problem(self) -> str:
        """Why no node can be used; empty if one can."""
        problems = [node.problem for node in self.all.values()]
        return problems[0] if problems and all(problems) else "" if problems else "The cluster has no node."
