"""A small client of Jupyter's kernel gateway. A program of its own, in that gateway's environment.

`websocket_loop.py NOTEBOOK REPORT URL` makes a kernel by `POST /api/kernels`, runs one code cell after the other on its
websocket, each sent when the one before has replied and is idle, prints what the cells print as it comes, deletes the
kernel, and writes a report of seconds and images.
"""

import json
import sys
import time
import urllib.request
import uuid
from typing import Any

import websocket  # type: ignore[import-not-found]


def main() -> None:
    """Run the notebook's code cells. A cell that fails ends the program with 1."""
    path, report, url = sys.argv[1:4]
    with open(path, encoding="utf-8") as file:
        cells = [cell["source"] for cell in json.load(file)["cells"] if cell["cell_type"] == "code"]
    kernel = call("POST", f"{url}/api/kernels", {"name": "python3"})["id"]
    try:
        channels = f"{url.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
        connection = websocket.create_connection(channels, timeout=600)
        started = time.perf_counter()
        images = sum(execute(connection, source) for source in cells)
        done = time.perf_counter()
        connection.close()
    finally:
        call("DELETE", f"{url}/api/kernels/{kernel}")
    with open(report, "w", encoding="utf-8") as file:
        json.dump({"cells": done - started, "images": images}, file)


def call(method: str, url: str, body: Any = None) -> Any:
    """One HTTP request; what it answers, None for nothing."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as response:
        content = response.read()
    return json.loads(content) if content else None


def execute(connection: Any, source: str) -> int:
    """Run a cell to its reply and its idle message; the number of images that came."""
    request = uuid.uuid4().hex
    content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    header = {"msg_id": request, "msg_type": "execute_request", "username": "", "session": request, "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    connection.send(json.dumps(message))
    images = 0
    idle = replied = False
    while not (idle and replied):
        answer = json.loads(connection.recv())
        content = answer["content"]
        if answer["msg_type"] == "stream":
            sys.stdout.write(content["text"])
            sys.stdout.flush()
        images += "image/png" in content.get("data", ())
        if answer["parent_header"].get("msg_id") != request:
            continue
        if answer["msg_type"] == "execute_reply":
            replied = True
            if content["status"] != "ok":
                sys.exit(f"a cell failed: {content}")
        idle = idle or (answer["msg_type"] == "status" and content["execution_state"] == "idle")
    return images


if __name__ == "__main__":
    main()
