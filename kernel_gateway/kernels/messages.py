"""Messages of the Jupyter protocol as a `Kernel` hands them on, and how they are read off the wire."""

from __future__ import annotations

import hmac
from typing import Any, NamedTuple, cast

from jupyter_client.session import Session


class Message(NamedTuple):
    """A kernel's message: its ``channel``, ``type``, the id of the request it belongs to, and its parts."""

    channel: str
    type: str
    parent: str
    content: dict[str, Any]
    metadata: dict[str, Any]


def decode(session: Session, channel: str, frames: list[bytes]) -> tuple[Message, str | None] | None:
    """A message from its frames, and the session id of the process that sent it; None for one that was not signed.

    `Session.deserialize` parses every header's date, which costs as much as all the rest together. Format:
    https://jupyter-client.readthedocs.io/en/stable/messaging.html#the-wire-protocol
    """
    signature, header, parent, metadata, content = cast(list[bytes], session.feed_identities(frames)[1])[:5]
    if session.auth is not None and not hmac.compare_digest(
        signature, session.sign([header, parent, metadata, content])
    ):
        return None
    head = session.unpack(header)
    request = session.unpack(parent).get("msg_id", "")
    message = Message(channel, head["msg_type"], request, session.unpack(content), session.unpack(metadata))
    return message, head.get("session")
