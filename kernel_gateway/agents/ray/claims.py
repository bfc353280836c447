"""Whose turn it is for the nodes of a cluster: the queue's rule of one machine (`agents.capacity`), for many.

Runs are looked at in their order. One that no node has room for waits at the node that lacks least of what it asks
for, and keeps what is free of it there; those behind it may have the rest. A node that is kept so lacks less and less,
and no other can come to lack more than it: however many small runs come, a large one waits for those before it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..capacity import EPSILON

if TYPE_CHECKING:
    from .nodes import Ask, Node


@dataclass
class Room:
    """What is free of a node. ``memory`` in bytes."""

    gpus: float
    cpus: float
    memory: float

    def holds(self, ask: Ask) -> bool:
        """Whether there is room for a run."""
        return ask.gpus <= self.gpus and ask.cpus <= self.cpus + EPSILON and ask.memory <= self.memory

    def lack(self, ask: Ask) -> tuple[float, float, float]:
        """How much is missing, GPUs first: it is for them that one waits longest."""
        return max(0, ask.gpus - self.gpus), max(0, ask.cpus - self.cpus), max(0, ask.memory - self.memory)

    def take(self, ask: Ask) -> None:
        """Count as taken what there is of a run's wishes."""
        self.gpus = max(0, self.gpus - ask.gpus)
        self.cpus = max(0, self.cpus - ask.cpus)
        self.memory = max(0, self.memory - ask.memory)


class Claims:
    """One look through the queue, in its order: `admits` is asked for each run until it says yes."""

    def __init__(self, nodes: Iterable[Node], waiting: Iterable[Ask]) -> None:
        """`waiting`: what those ask for that wait in Ray itself, before all that wait here."""
        self._nodes = [node for node in nodes if not node.problem]
        self._left = {node.id: node.room() for node in self._nodes}
        self._refused: set[Ask] = set()
        for ask in waiting:
            self._keep(ask)

    def admits(self, ask: Ask) -> bool:
        """Whether a node has room for a run, beside what is kept for runs before it; if not, this one keeps some too.

        Runs that ask for the same as one that waits keep nothing more: it is long before them.
        """
        if ask in self._refused:
            return False
        if any(node.suits(ask) and self._left[node.id].holds(ask) for node in self._nodes):
            return True
        self._refused.add(ask)
        self._keep(ask)
        return False

    def barred(self, ask: Ask) -> frozenset[str]:
        """Nodes that could run it now, if that were not kept for runs before it: Ray must not choose them."""
        return frozenset(node.id for node in self._nodes if node.has_room(ask) and not self._left[node.id].holds(ask))

    def _keep(self, ask: Ask) -> None:
        rooms = [self._left[node.id] for node in self._nodes if node.suits(ask)]
        if rooms:
            min(rooms, key=lambda room: room.lack(ask)).take(ask)
