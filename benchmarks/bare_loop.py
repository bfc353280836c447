"""The floor: a kernel driven by jupyter_client and nothing else. Runs in the peers' environment, prints JSON.

`bare_loop.py NOTEBOOK` runs one code cell after the other, each sent when the one before has replied and is idle, by
jupyter_client's blocking calls, on a kernel as it starts by default, which writes each cell to its history file. With
`--sockets` it polls the client's sockets itself and the kernel keeps its history in memory: the least that a program
can do that reads every message and checks its signature.
"""

import json
import re
import sys
import time

import zmq
from jupyter_client.manager import start_new_kernel


def main() -> None:
    """Run the notebook's code cells; print seconds and, where cells print their time, how late it came."""
    with open(sys.argv[1], encoding="utf-8") as file:
        cells = [cell["source"] for cell in json.load(file)["cells"] if cell["cell_type"] == "code"]
    lean = "--sockets" in sys.argv
    wait = wait_on_sockets if lean else wait_blocking
    begun = time.perf_counter()
    manager, client = start_new_kernel(extra_arguments=["--HistoryManager.hist_file=:memory:"] if lean else [])
    started = time.perf_counter()
    delays: list[float] = []
    for source in cells:
        wait(client, client.execute(source), delays)
    done = time.perf_counter()
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    print(json.dumps({"start": started - begun, "cells": done - started, "delays": delays}))


def wait_blocking(client, request, delays) -> None:  # type: ignore[no-untyped-def]
    """Until the request's idle message and its reply are there."""
    while True:
        message = client.get_iopub_msg(timeout=600)
        note_delays(message, delays)
        if is_idle(message, request):
            break
    while client.get_shell_msg(timeout=600)["parent_header"].get("msg_id") != request:
        pass


def wait_on_sockets(client, request, delays) -> None:  # type: ignore[no-untyped-def]
    """The same, without jupyter_client's channels."""
    iopub, shell = client.iopub_channel.socket, client.shell_channel.socket
    poller = zmq.Poller()
    poller.register(iopub, zmq.POLLIN)
    poller.register(shell, zmq.POLLIN)
    idle = replied = False
    while not (idle and replied):
        for socket, _ in poller.poll(600_000):
            _, frames = client.session.feed_identities(zmq.Socket.recv_multipart(socket))
            message = client.session.deserialize(frames)
            note_delays(message, delays)
            if socket is iopub:
                idle = idle or is_idle(message, request)
            else:
                replied = replied or message["parent_header"].get("msg_id") == request


def is_idle(message, request) -> bool:  # type: ignore[no-untyped-def]
    """Whether the kernel says that it has done with the request."""
    ours = message["parent_header"].get("msg_id") == request
    return bool(ours and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle")


def note_delays(message, delays) -> None:  # type: ignore[no-untyped-def]
    """How long ago the times were that the message's text holds, in milliseconds."""
    if message["msg_type"] == "stream":
        arrived = time.time_ns()
        stamps = re.findall(r"\b\d{19}\b", message["content"]["text"])
        delays += [(arrived - int(stamp)) / 1e6 for stamp in stamps]


if __name__ == "__main__":
    main()
