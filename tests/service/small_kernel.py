"""The least kernel that a run can have: answers the protocol's requests and prints what it is asked to execute.

For tests of the service itself, where hundreds of kernels start. Run as ``small_kernel.py CONNECTION_FILE``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq

DELIMITER = b"<IDS|MSG>"


class SmallKernel:
    """Serves one client until it is told to shut down."""

    def __init__(self, connection: dict[str, Any]) -> None:
        self._key = connection["key"].encode()
        self._session = uuid.uuid4().hex
        context = zmq.Context()
        separator = "-" if connection["transport"] == "ipc" else ":"
        address = f"{connection['transport']}://{connection['ip']}{separator}"
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        for name, kind in (("shell", zmq.ROUTER), ("control", zmq.ROUTER), ("iopub", zmq.PUB), ("hb", zmq.REP)):
            self._sockets[name] = context.socket(kind)
            self._sockets[name].bind(f"{address}{connection[f'{name}_port']}")
        heartbeat = self._sockets["hb"]
        threading.Thread(target=lambda: zmq.device(zmq.FORWARDER, heartbeat, heartbeat), daemon=True).start()

    def serve(self) -> None:
        """Answer requests until one of them is to shut down."""
        poller = zmq.Poller()
        for name in ("shell", "control"):
            poller.register(self._sockets[name], zmq.POLLIN)
        while True:
            for ready, _ in poller.poll():
                parts = ready.recv_multipart()
                at = parts.index(DELIMITER)
                header, content = json.loads(parts[at + 2]), json.loads(parts[at + 5])
                self._publish("status", {"execution_state": "busy"}, header)
                answer = self._answer(header["msg_type"], content, header)
                kind = header["msg_type"].replace("_request", "_reply")
                ready.send_multipart([*parts[:at], *self._message(kind, answer, header)])
                self._publish("status", {"execution_state": "idle"}, header)
                if header["msg_type"] == "shutdown_request":
                    return

    def _answer(self, kind: str, content: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
        if kind == "kernel_info_request":
            language = {"name": "text", "version": "1", "mimetype": "text/plain", "file_extension": ".txt"}
            return {
                "status": "ok",
                "protocol_version": "5.3",
                "implementation": "small",
                "implementation_version": "1",
                "language_info": language,
                "banner": "",
            }
        if kind == "execute_request":
            if not content.get("silent"):
                self._publish("stream", {"name": "stdout", "text": content["code"] + "\n"}, header)
            return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
        return {"status": "ok", "restart": False}

    def _publish(self, kind: str, content: dict[str, Any], parent: dict[str, Any]) -> None:
        self._sockets["iopub"].send_multipart([kind.encode(), *self._message(kind, content, parent)])

    def _message(self, kind: str, content: dict[str, Any], parent: dict[str, Any]) -> list[bytes]:
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": self._session,
            "username": "small",
            "date": datetime.now(UTC).isoformat(),
            "msg_type": kind,
            "version": "5.3",
        }
        frames = [json.dumps(part).encode() for part in (header, parent, {}, content)]
        signature = hmac.new(self._key, b"".join(frames), hashlib.sha256).hexdigest().encode()
        return [DELIMITER, signature, *frames]


if __name__ == "__main__":
    SmallKernel(json.loads(Path(sys.argv[1]).read_text())).serve()
