"""The process that talks to Ray for the dispatcher: ``python -m kernel_gateway.agents.ray.connector ADDRESS ID``.

Ray's client is large, may block for long, and ends the whole process when its cluster is gone for too long. So it has
a process of its own, below the dispatcher, which goes on and starts another. They talk in JSON lines.

To it (stdin): ``{"do": "start", "run", "order", "gpus", "cpus", "memory", "selector", "resources"}``, ``{"do":
"attach", "runs"}`` (these may have actors; all others of this gateway are ended), ``cancel`` and ``kill`` with ``run``.

From it (stdout): ``{"say": "nodes", "nodes"}`` (again at least every 2 seconds), ``{"say": "placed", "run", "node",
"gpus", "pid"}``, ``{"say": "gone", "run", "why", "absent"}``, ``{"say": "problem", "words"}``.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from ...kernels.guard import die_with_parent
from . import PROTOCOL, probe
from .node import RunActor

NODES_SECONDS = 1.0
"""How often the nodes are looked at."""

AGAIN_SECONDS = 1.0
"""How soon after a broken connection to an actor it is asked again."""

PROBE_SECONDS = 60.0
"""How long a node may take to tell its versions; then it is asked again."""

THREADS = 4
"""Calls that an actor answers at once: `RunActor.run` takes one of them for as long as the run lives."""

Say = Callable[..., None]


class Connector:
    """One connection to a cluster. Everything happens in `work`, fed by a queue; Ray's futures only put into it."""

    def __init__(self, address: str, gateway: str, say: Say) -> None:
        import ray

        self._ray: Any = ray
        self._say = say
        self._namespace = f"kernel-gateway-{gateway}"
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._actors: dict[str, Any] = {}
        self._probes: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, float] = {}
        self._told: dict[str, Any] = {}
        self._told_at = 0.0
        ray.init(
            address=address,
            namespace=self._namespace,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        self._ray.cloudpickle.register_pickle_by_value(probe)

    def work(self) -> None:
        """Do what is asked for, until stdin ends. Raises ConnectionError when Ray's client has lost the cluster."""
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        looked = 0.0
        while True:
            if time.monotonic() - looked >= NODES_SECONDS:
                self._look_at_nodes()
                looked = time.monotonic()
            try:
                step = self._queue.get(timeout=NODES_SECONDS)
            except queue.Empty:
                continue
            if step is None:
                return
            step()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            command = json.loads(line)
            self._queue.put(partial(self._obey, command))
        self._queue.put(None)

    def _obey(self, command: dict[str, Any]) -> None:
        do = command.pop("do")
        try:
            getattr(self, do)(**command)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 — Ray raises anything, and one run must not end the others
            if "run" in command:
                self._gone(command["run"], words(error))
            else:
                self._say("problem", words=words(error))

    # -- commands ------------------------------------------------------------------------------------

    def start(self, run: str, order: dict[str, str], gpus: int, **asked: Any) -> None:
        """Ask Ray for a place for a run, and have it executed there."""
        options = {
            "name": run,
            "lifetime": "detached",
            "max_restarts": 0,
            "max_concurrency": THREADS,
            "num_gpus": gpus,
            "num_cpus": asked["cpus"],
            "memory": asked["memory"] or None,
            "resources": asked["resources"] or None,
            "label_selector": asked["selector"] or None,
        }
        wanted = {name: value for name, value in options.items() if value is not None}
        try:
            actor = self._ray.remote(RunActor).options(**wanted).remote(order, gpus)
        except ValueError as error:  # the name is taken: an earlier dispatcher was killed right after it had asked
            try:
                actor = self._ray.get_actor(run, namespace=self._namespace)
            except ValueError:
                raise error from None
        self._follow(run, actor)

    def attach(self, runs: list[str]) -> None:
        """Find the actors of runs again, and end those that nobody knows."""
        for entry in self._ray.util.list_named_actors(all_namespaces=True):
            if entry["namespace"] == self._namespace and entry["name"] not in runs:
                self._ray.kill(self._ray.get_actor(entry["name"], namespace=self._namespace))
        for run in runs:
            if run not in self._actors:
                try:
                    actor = self._ray.get_actor(run, namespace=self._namespace)
                except ValueError:
                    self._gone(run, "Ray knows no actor of it any more.", absent=True)
                else:
                    self._follow(run, actor)

    def cancel(self, run: str) -> None:
        """Have a run's actor end it."""
        if run in self._actors:
            self._actors[run].cancel.remote()

    def kill(self, run: str) -> None:
        """End a run's actor, wherever it is, or its wish for a place."""
        if run in self._actors:
            self._ray.kill(self._actors[run])

    # -- actors --------------------------------------------------------------------------------------

    def _follow(self, run: str, actor: Any) -> None:
        self._actors[run] = actor
        self._when_done(actor.where.remote(), lambda place, error: self._placed(run, place, error))
        self._when_done(actor.run.remote(), lambda how, error: self._ended(run, how, error))

    def _when_done(self, ref: Any, then: Callable[[Any, BaseException | None], None]) -> None:
        """Have a call's result, or its error, handled in `work`."""

        def done(future: Any) -> None:
            error = future.exception()
            result = None if error is not None else future.result()
            self._queue.put(lambda: then(result, error))

        ref.future().add_done_callback(done)

    def _placed(self, run: str, place: dict[str, Any] | None, error: BaseException | None) -> None:
        if place is not None:
            self._say("placed", run=run, **place)

    def _ended(self, run: str, how: str | None, error: BaseException | None) -> None:
        if isinstance(error, ConnectionError):
            raise error  # of the client, for all that it waits for: it says nothing of the actor, which goes on
        actor = self._actors.get(run)
        if isinstance(error, self._ray.exceptions.ActorUnavailableError) and actor is not None:
            timer = threading.Timer(AGAIN_SECONDS, self._queue.put, (lambda: self._follow(run, actor),))
            timer.daemon = True
            timer.start()
            return
        if error is None and actor is not None:
            self._ray.kill(actor)
        self._gone(run, how or "" if error is None else words(error))

    def _gone(self, run: str, why: str, absent: bool = False) -> None:
        self._actors.pop(run, None)
        self._say("gone", run=run, why=why, absent=absent)

    # -- nodes ---------------------------------------------------------------------------------------

    def _look_at_nodes(self) -> None:
        nodes = {}
        for node in self._ray.nodes():
            if node["Alive"]:
                nodes[node["NodeID"]] = self._node(node)
        for id in self._probes.keys() - nodes.keys():
            del self._probes[id]
        if nodes != self._told or time.monotonic() - self._told_at > 2 * NODES_SECONDS:
            self._told, self._told_at = nodes, time.monotonic()
            self._say("nodes", nodes=nodes)

    def _node(self, node: Mapping[str, Any]) -> dict[str, Any]:
        id = node["NodeID"]
        if id not in self._probes and time.monotonic() - self._asked.get(id, -PROBE_SECONDS) >= PROBE_SECONDS:
            self._asked[id] = time.monotonic()
            self._probe(id)
        return {
            "address": node["NodeManagerAddress"],
            "resources": node["Resources"],
            "labels": node.get("Labels") or {},
            "probe": self._probes.get(id),
        }

    def _probe(self, id: str) -> None:
        """Ask a node for its versions. It takes no CPU of it, so that a node which is full answers too."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(node_id=id, soft=False)
        task = self._ray.remote(probe.probe).options(num_cpus=0, max_retries=0, scheduling_strategy=here)

        def answered(found: dict[str, Any] | None, error: BaseException | None) -> None:
            if found is not None:
                self._probes[id] = found
                self._look_at_nodes()

        self._when_done(task.remote(), answered)


def words(error: BaseException) -> str:
    """What Ray says, as one line: its texts go on with stack traces of its own."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    cause = next((line for line in reversed(lines) if line and not line.startswith("File ")), "")
    first = lines[0] if lines else ""
    text = cause if type(error).__name__.startswith("RayTaskError") else first
    return text[:500] or type(error).__name__


def main(arguments: list[str]) -> int:
    """Entry point of the process."""
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ours = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Ray prints
    lock = threading.Lock()

    def say(what: str, **fields: Any) -> None:
        with lock:
            ours.write(json.dumps({"say": what, **fields}) + "\n")

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address, gateway = arguments
    try:
        connector = Connector(cast(str, None if address == "" else address), gateway, say)
    except Exception as error:  # noqa: BLE001 — Ray raises anything
        say("problem", words=words(error))
        return 1
    say("connected", protocol=PROTOCOL)
    try:
        connector.work()
    except ConnectionError as error:
        say("problem", words=words(error))
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # Ray's own farewell takes seconds
