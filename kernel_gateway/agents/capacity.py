"""How much of a machine is given to which run, and whose turn it is for what is left. Computes only: no I/O.

The rule of the queue. Runs are looked at in their order: by priority, then age. One that waits for GPUs, CPUs or memory
keeps what is free of them, up to what it asks for; those behind it may have the rest. So small runs fill the gaps a
large one can't use, and never pass it on what it waits for: it begins as soon as enough runs before it have ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

EPSILON = 1e-6
"""CPUs that don't count: 0.1 + 0.2 fits into 0.3."""


class Wish(Protocol):
    """What a run asks for; `store.RunRecord` is one. Memory in bytes; 0 for no wish."""

    @property
    def gpus(self) -> int: ...
    @property
    def cpus(self) -> float: ...
    @property
    def memory(self) -> int: ...


@dataclass(frozen=True)
class Share:
    """What a run was given: GPUs by name, CPUs, bytes of memory."""

    gpus: tuple[str, ...] = ()
    cpus: float = 0.0
    memory: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As notes and answers carry it."""
        return {"gpus": list(self.gpus), "cpus": self.cpus, "memory": self.memory}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Share:
        """The share of a note. Raises ValueError, TypeError or KeyError for what is none."""
        return cls(tuple(map(str, values["gpus"])), float(values["cpus"]), int(values["memory"]))


class Turn:
    """One look through the queue, in its order: `admits` is asked for each run in its turn until it says yes."""

    def __init__(self, gpus: int, cpus: float, memory: int) -> None:
        self._gpus = gpus
        self._cpus = cpus
        self._memory = memory

    def admits(self, wish: Wish) -> bool:
        """Whether a run may begin now; of one that may not, what is free of its wishes is kept from those behind it.

        Ask only for runs that could begin on an empty machine.
        """
        if wish.gpus <= self._gpus and wish.cpus <= self._cpus + EPSILON and wish.memory <= self._memory:
            return True
        self._gpus = max(0, self._gpus - wish.gpus)
        self._cpus = max(0.0, self._cpus - wish.cpus)
        self._memory = max(0, self._memory - wish.memory)
        return False


class Capacity:
    """A machine's slots, GPUs, CPUs and memory, and who holds what. Runs that ask for no CPUs or memory hold none."""

    def __init__(self, slots: int, gpus: Iterable[str], cpus: float, memory: int) -> None:
        self.slots = slots
        self.gpus = list(gpus)
        self.cpus = cpus
        self.memory = memory
        self._shares: dict[str, Share] = {}

    @property
    def has_slot(self) -> bool:
        """Whether one more run may begin, if it asks for nothing else."""
        return len(self._shares) < self.slots

    @property
    def busy(self) -> int:
        """Slots that are taken."""
        return len(self._shares)

    def free_gpus(self, elsewhere: Collection[str] = ()) -> list[str]:
        """GPUs that no run holds, in their order, but for those that are taken `elsewhere`."""
        held = {gpu for share in self._shares.values() for gpu in share.gpus}
        return [gpu for gpu in self.gpus if gpu not in held and gpu not in elsewhere]

    @property
    def free_cpus(self) -> float:
        """CPUs that no run asked for."""
        return max(0.0, self.cpus - sum(share.cpus for share in self._shares.values()))

    @property
    def free_memory(self) -> int:
        """Bytes that no run asked for."""
        return max(0, self.memory - sum(share.memory for share in self._shares.values()))

    def suits(self, wish: Wish) -> bool:
        """Whether a run could ever begin here."""
        return wish.gpus <= len(self.gpus) and wish.cpus <= self.cpus + EPSILON and wish.memory <= self.memory

    def turn(self, elsewhere: Collection[str] = ()) -> Turn:
        """One look through the queue with what is free now; GPUs that are taken `elsewhere` are not."""
        return Turn(len(self.free_gpus(elsewhere)), self.free_cpus, self.free_memory)

    def grant(self, run: str, wish: Wish, elsewhere: Collection[str] = ()) -> Share:
        """Give a run what it asks for, which is free as its turn said."""
        share = Share(tuple(self.free_gpus(elsewhere)[: wish.gpus]), wish.cpus, wish.memory)
        self._shares[run] = share
        return share

    def hold(self, run: str, share: Share) -> None:
        """Count a share as given, e.g. to a run that an earlier dispatcher started."""
        self._shares[run] = share

    def release(self, run: str) -> None:
        """Take a run's share back."""
        self._shares.pop(run, None)

    def share_of(self, run: str) -> Share:
        """What a run holds."""
        return self._shares.get(run, Share())

    def state(self) -> dict[str, Any]:
        """What `GET /agents` shows of it."""
        holder = {gpu: run for run, share in self._shares.items() for gpu in share.gpus}
        return {
            "slots": self.slots,
            "busy": self.busy,
            "runs": sorted(self._shares),
            "gpus": {gpu: holder.get(gpu) for gpu in self.gpus},
            "cpus": {"total": self.cpus, "free": round(self.free_cpus, 3)},
            "memory": {"total": self.memory, "free": self.free_memory},
            "holders": [{"run": run, **share.to_dict()} for run, share in sorted(self._shares.items())],
        }
