"""The floor: a kernel driven by jupyter_client and nothing else. A program of its own, in the peers' environment.

`bare_loop.py NOTEBOOK REPORT` runs one code cell after the other, each sent when the one before has replied and is
idle, by jupyter_client's blocking calls, on a kernel as it starts by default, which writes each cell to its history
file. It prints what the cells print as it comes and writes a report of seconds and images. With `--sockets` it polls
the client's sockets itself and the kernel keeps its history in memory: the least that a program can do that reads
every message and checks its signature.
"""

import json
import sys
import time
from typing import Any

import zmq
from jupyter_client.manager import start_new_kernel


def main() -> None:
    """Run the notebook's code cells. A cell that fails ends the program with 1."""
    with open(sys.argv[1], encoding="utf-8") as file:
        cells = [cell["source"] for cell in json.load(file)["cells"] if cell["cell_type"] == "code"]
    lean = "--sockets" in sys.argv
    wait = wait_on_sockets if lean else wait_blocking
    manager, client = start_new_kernel(extra_arguments=["--HistoryManager.hist_file=:memory:"] if lean else [])
    started = time.perf_counter()
    try:
        images = sum(wait(client, client.execute(source)) for source in cells)
        done = time.perf_counter()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"cells": done - started, "images": images}, file)


def wait_blocking(client: Any, request: str) -> int:
    """Until the request's idle message and its reply are there; the number of images that came."""
    images = 0
    while True:
        message = client.get_iopub_msg(timeout=600)
        images += take(message)
        if is_idle(message, request):
            break
    while not is_reply(client.get_shell_msg(timeout=600), request):
        pass
    return images


def wait_on_sockets(client: Any, request: str) -> int:
    """The same, without jupyter_client's channels."""
    iopub, shell = client.iopub_channel.socket, client.shell_channel.socket
    poller = zmq.Poller()
    poller.register(iopub, zmq.POLLIN)
    poller.register(shell, zmq.POLLIN)
    images = 0
    idle = replied = False
    while not (idle and replied):
        for socket, _ in poller.poll(600_000):
            _, frames = client.session.feed_identities(zmq.Socket.recv_multipart(socket))
            message = client.session.deserialize(frames)
            if socket is iopub:
                images += take(message)
                idle = idle or is_idle(message, request)
            else:
                replied = replied or is_reply(message, request)
    return images


def take(message: Any) -> int:
    """Print what a message has to print; 1 if it has an image."""
    if message["msg_type"] == "stream":
        sys.stdout.write(message["content"]["text"])
        sys.stdout.flush()
    return int("image/png" in message["content"].get("data", ()))


def is_idle(message: Any, request: str) -> bool:
    """Whether the kernel says that it has done with the request."""
    ours = message["parent_header"].get("msg_id") == request
    return bool(ours and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle")


def is_reply(message: Any, request: str) -> bool:
    """Whether the message is the request's reply. Ends the program if that tells of an error."""
    ours = message["parent_header"].get("msg_id") == request
    if ours and message["content"]["status"] != "ok":
        sys.exit(f"a cell failed: {message['content']}")
    return bool(ours)


if __name__ == "__main__":
    main()
