"""A Ray cluster on this machine, in a process and a network of its own: ``python -m tests.ray.cluster FOLDER``.

JSON lines both ways: ``{"do": "add", …}`` starts a node with these parameters, ``{"do": "kill", "node": N}`` kills one
with -9; each is answered. When its stdin ends, or it is killed, everything ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

from kernel_gateway.kernels.guard import become_subreaper, descendants, die_with_parent, signal_all, sweep
from tests.ray.namespace import unshare

OBJECT_STORE = 80_000_000  # a little over the least that Ray takes
CLIENT_PORT = 10001


def main(folder: str) -> None:
    """Entry point of the process."""
    die_with_parent(signal.SIGTERM)
    become_subreaper()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # Ray notes the newest cluster of a machine in its folder of temporary files: have one of our own.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    os.environ["KERNEL_GATEWAY_DATA"] = f"{folder}/nodes"  # where nodes keep files
    # As little beside the runs as can be: Ray would start a worker for each CPU of each node.
    os.environ |= {"RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0"}
    # A node that says nothing is given up after some 20 seconds; Ray's own measure is a minute.
    os.environ |= {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000"}
    os.makedirs(f"{folder}/ray", exist_ok=True)
    try:
        try:
            unshare()
        except OSError as error:
            answers.write(json.dumps({"error": str(error)}) + "\n")
            return
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `finally` has its turn
        cluster = Cluster(folder)
        answers.write(json.dumps({"nodes": [cluster.add(num_cpus=4) for _ in range(3)]}) + "\n")
        for line in sys.stdin:
            command = json.loads(line)
            done = getattr(cluster, command.pop("do"))(**command)
            answers.write(json.dumps(done) + "\n")
    except BaseException:  # noqa: BLE001 — there is no other end than `_exit`
        traceback.print_exc()
    finally:
        sweep(0.0)  # by parentage, not by name: other clusters of this machine stay
        os._exit(0)


class Cluster:
    """The nodes, each at an address of its own: 127.0.0.1, 127.0.0.2 and so on."""

    def __init__(self, folder: str) -> None:
        from ray import cluster_utils

        self._cluster = cluster_utils.Cluster(shutdown_at_exit=False)
        self._folder = folder
        self._nodes: list[Any] = []

    def add(self, **parameters: Any) -> dict[str, Any]:
        """Start a node; its address and the pid of its raylet."""
        number = len(self._nodes) + 1
        options: dict[str, Any] = {"num_gpus": 1, "num_cpus": 4, "labels": {"place": f"n{number}"}, **parameters}
        if not self._nodes:
            temporary = f"{self._folder}/ray"
            options |= {"ray_client_server_port": CLIENT_PORT, "temp_dir": temporary, "no_monitor": True}
        node = self._cluster.add_node(
            **options,
            node_ip_address=f"127.0.0.{number}",
            object_store_memory=OBJECT_STORE,
            include_dashboard=False,
            include_log_monitor=False,
        )
        self._nodes.append(node)
        return {"address": f"127.0.0.{number}", "number": number - 1}

    def address(self) -> dict[str, Any]:
        """Where drivers find it that are nodes of it themselves."""
        return {"address": self._cluster.gcs_address}

    def kill(self, node: int) -> dict[str, Any]:
        """Kill a node's processes and all that is below them at one stroke, as a power cut would."""
        self.freeze(node)
        return self._signal(node, signal.SIGKILL)

    def freeze(self, node: int) -> dict[str, Any]:
        """Stop them instead: the node is as good as cut off, and comes back by `thaw` as if nothing had been."""
        return self._signal(node, signal.SIGSTOP)

    def thaw(self, node: int) -> dict[str, Any]:
        """Let them go on."""
        return self._signal(node, signal.SIGCONT)

    def _signal(self, node: int, number: signal.Signals) -> dict[str, Any]:
        own = [process.process.pid for many in self._nodes[node].all_processes.values() for process in many]
        below = [pid for parent in own for pid in descendants(parent)]
        signal_all([*own, *below], number)
        return {"processes": len(own)}


if __name__ == "__main__":
    main(sys.argv[1])
