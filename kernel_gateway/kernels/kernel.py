"""A live kernel: start it, send it code, hear what it says, interrupt it, stop it.

The runner owns one `Kernel` for every kernelspec that a program uses and drives it from a single thread
through a `Switchboard`. Messages follow the Jupyter messaging protocol 5
(https://jupyter-client.readthedocs.io/en/stable/messaging.html).
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import zmq
from jupyter_client.manager import KernelManager

from ..errors import KernelDiedError, KernelStartError
from ..settings import Settings
from .launch import GuardedProvisioner
from .messages import Message, decode
from .sandbox import Sandbox, make_short_folder
from .snippets import FOLDER_VARIABLE
from .specs import Kernelspec, OneSpec, is_remote, lossless, with_argv

OUTPUT_KEPT = 16 * 1024
"""Bytes kept of what the kernel's process wrote outside the protocol, to show when it dies."""

HEARTBEAT_SECONDS = 2.0
LATE_START = 5.0
"""Seconds after a kernel's first answer in which its status ``starting`` is still that of its start."""

FORK_SECONDS = 10.0
"""How long a forked kernel may take to its first answer; it needs tenths, and there is another way to start it."""

NO_FORK_SERVERS: Mapping[str, Path] = MappingProxyType({})

WAITING = 64
"""Messages of one channel that wait on our side, of kernels that drop none of the others (see `python_start`)."""

BATCH = 256
"""Messages taken from one socket before the others get their turn."""

_LONGEST_IPC_FOLDER = 80  # of the 107 bytes of a Unix socket's path


class Kernel:
    """One kernel process and the sockets to it.

    ``cwd`` is the kernel's working folder, ``environ`` its environment (quirks are added), ``sandbox`` what
    hides other things from it. ``fork_servers``: interpreter → socket of the fork server that has kernels of it.
    All methods return at once unless they say otherwise. ``ready`` turns true when the kernel has answered and its
    output channel is known to work; ``farewell`` turns readable when all that an ended kernel sent has been received.
    """

    def __init__(
        self,
        kernelspec: Kernelspec,
        *,
        cwd: Path,
        environ: Mapping[str, str],
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]],
        sandbox: Sandbox | None = None,
        fork_servers: Mapping[str, Path] = NO_FORK_SERVERS,
    ) -> None:
        self.spec = kernelspec
        self.quirks = kernelspec.quirks
        self.ready = False
        self.info: dict[str, Any] = {}
        self.raw_tail = b""
        self.sockets: dict[str, zmq.Socket[bytes]] = {}
        self.farewell: zmq.Socket[bytes] | None = None
        self.folder: Path | None = None
        self.cwd = cwd
        self.environ = dict(environ)
        self._settings = settings
        self._context = context
        self._sandbox = sandbox
        self._fork_servers = fork_servers
        self._manager: KernelManager | None = None
        self._local: GuardedProvisioner | None = None
        self._heard_iopub = self._says_farewell = False
        self._kernel_session: str | None = None
        self._started = self._answered = self._asked = 0.0
        self._beat_sent = 0.0
        self._beating = False
        self._polled = 0.0

    @property
    def name(self) -> str:
        """The kernelspec's name."""
        return self.spec.name

    @property
    def forked(self) -> bool:
        """Whether it comes from a fork server."""
        return self._local is not None and self._local.forked

    @property
    def guard_pid(self) -> int | None:
        """The process below which all of the kernel's processes are; None if they are none of this machine."""
        return self._local.guard_pid if self._local is not None else None

    # -- starting ------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the process and open the sockets. Raises `KernelStartError` when that is impossible."""
        remote = is_remote(self.spec.spec)
        spec = self.spec.spec if remote else with_argv(self.spec.spec, lossless(self.spec.spec.argv))
        manager = KernelManager(
            kernel_name=self.name, kernel_spec_manager=OneSpec(spec), context=self._context, shutdown_wait_time=2.0
        )
        environ = {**self.environ, **self.quirks.environment}
        if not remote:
            self.folder = self._make_folder()
            environ[FOLDER_VARIABLE] = str(self.folder)
            manager.connection_file = str(self.folder / "kernel.json")
            if self.quirks.transport == "ipc" and len(str(self.folder)) <= _LONGEST_IPC_FOLDER:
                manager.transport = "ipc"
                manager.ip = str(self.folder / "ipc")
            elif self._sandbox is not None and not self._sandbox.network:
                raise KernelStartError(
                    f"Kernel {self.name!r} talks over the loopback network, which this gateway's sandbox takes away "
                    "(setting sandbox_network)."
                )
            self._local = GuardedProvisioner(kernel_id=self.folder.name, kernel_spec=spec, parent=manager)
            self._local.folder = str(self.folder)
            self._local.sandbox = self._sandbox
            self._local.fork_server = self._fork_servers.get(self.spec.spec.argv[0])
            manager.provisioner = self._local
        self._manager = manager
        self._says_farewell = spec.argv != self.spec.spec.argv
        try:
            manager.start_kernel(cwd=str(self.cwd), env=environ, extra_arguments=list(self.quirks.arguments))
        except KernelStartError:
            raise
        except Exception as error:  # a provisioner may raise anything
            raise KernelStartError(f"Kernel {self.name!r} can't be started: {error}") from error
        self._started = time.monotonic()
        # Messages that we don't get round to wait in the kernel if it can keep them, else here.
        self._context.setsockopt(zmq.RCVHWM, WAITING if self._says_farewell else 0)
        for channel in ("iopub", "shell", "control", "stdin", "hb"):
            self.sockets[channel] = getattr(manager, f"connect_{channel}")(identity=manager.session.bsession)
        self.farewell = self.sockets["iopub"].get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._ask()

    def _make_folder(self) -> Path:
        # A long TMPDIR would make the sockets' paths too long for ipc.
        base = str(self._sandbox.hidden) if self._sandbox is not None else tempfile.gettempdir()
        if len(base) > _LONGEST_IPC_FOLDER - 20:
            base = str(make_short_folder()) if self._sandbox is not None else "/tmp"
        return Path(tempfile.mkdtemp(prefix="kernel-", dir=base))

    def _ask(self) -> None:
        """Ask for the kernel's info. Asked again while starting, since early answers may miss the open sockets."""
        self._asked = time.monotonic()
        self.send("shell", "kernel_info_request", {})

    def _note_readiness(self, message: Message) -> None:
        if message.channel == "iopub":
            self._heard_iopub = True
        elif message.type == "kernel_info_reply":
            self.info = message.content
        self.ready = self._heard_iopub and bool(self.info)
        if self.ready:
            self.raw_tail = b""  # a start that worked; what its process says of its end comes later

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the language and of the kernel's implementation, as the kernel tells them."""
        language = self.info.get("language_info") or {}
        pairs = {
            str(language.get("name") or self.spec.language): language.get("version"),
            str(self.info.get("implementation") or self.name): self.info.get("implementation_version"),
        }
        return {name: str(version) for name, version in pairs.items() if version}

    # -- talking -------------------------------------------------------------------------------------

    def send(self, channel: str, type: str, content: dict[str, Any]) -> str:
        """Send a request; returns its id, which its answers carry as `Message.parent`."""
        assert self._manager is not None
        message = self._manager.session.msg(type, content=content)
        self._manager.session.send(self.sockets[channel], message)
        return cast(str, message["header"]["msg_id"])

    def execute(self, code: str, *, silent: bool = False) -> str:
        """Send code to run; returns the request's id. Input requests are refused by the protocol's means."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            # One request is under way at a time; a failing setup must not abort the cell behind it.
            "stop_on_error": False,
        }
        return self.send("shell", "execute_request", content)

    def receive(self, channel: str) -> Iterator[Message]:
        """The messages waiting on a channel, at most `BATCH`. Raises `KernelDiedError` on a silent restart."""
        socket = self.sockets[channel]
        for _ in range(BATCH):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if channel == "hb":
                self._beating = False
                return  # a request socket has one answer to give
            assert self._manager is not None
            decoded = decode(self._manager.session, channel, frames)
            if decoded is not None:
                message, kernel_session = decoded
                self._watch_restart(message, kernel_session)
                if not self.ready:
                    self._note_readiness(message)
                yield message

    def _watch_restart(self, message: Message, kernel_session: str | None) -> None:
        """A kernel process has a session id of its own; another id means another process on the same sockets.

        Kernels that repeat the client's id instead are known by their status ``starting``, except right
        after the start, when the first process' own may come late.
        """
        assert self._manager is not None
        if message.channel not in ("shell", "iopub"):
            return
        if not self.ready:
            self._kernel_session, self._answered = kernel_session, time.monotonic()
            return
        if kernel_session != self._kernel_session:
            restarted = True
        else:
            starting = message.type == "status" and message.content.get("execution_state") == "starting"
            repeats = kernel_session == self._manager.session.session
            restarted = starting and repeats and time.monotonic() - self._answered > LATE_START
        if restarted:
            raise KernelDiedError(f"Kernel {self.name!r} restarted in mid-run; its variables are gone.")

    def interrupt(self) -> None:
        """Ask the kernel to stop the cell it runs, by signal or message as its spec or quirk says."""
        assert self._manager is not None
        mode = self.quirks.interrupt or self.spec.spec.interrupt_mode
        if mode == "message":
            self.send("control", "interrupt_request", {})
        elif self._local is not None:
            self._local.signal_kernel(signal.SIGINT)
        else:
            self._manager.interrupt_kernel()

    # -- watching ------------------------------------------------------------------------------------

    @property
    def fds(self) -> dict[int, str]:
        """Pipes to watch besides the sockets: fd → ``status``, ``stdout`` or ``stderr``."""
        if self._local is None:
            return {}
        pipes = {self._local.status_fd: "status", self._local.output: "stdout", self._local.errors: "stderr"}
        return {fd: name for fd, name in pipes.items() if fd >= 0}

    def read_pipe(self, fd: int) -> bytes | None:
        """What the kernel's process wrote outside the protocol; None at the pipe's end."""
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return b""
        self.raw_tail = (self.raw_tail + chunk)[-OUTPUT_KEPT:]
        return chunk or None

    def note_output(self, text: str) -> None:
        """Keep text for `raw_text` that the kernel sent by the protocol before anything ran."""
        self.raw_tail = (self.raw_tail + text.encode(errors="replace"))[-OUTPUT_KEPT:]

    def check(self, *, busy: bool) -> None:
        """Look after the kernel; the switchboard calls it at least once a second.

        `busy` says whether it is running a cell. Raises `KernelStartError` or `KernelDiedError`.
        """
        now = time.monotonic()
        self._check_process(now)
        if not self.ready:
            limit = min(self._settings.start_timeout, FORK_SECONDS if self.forked else math.inf)
            if now - self._started > limit:
                raise KernelStartError(
                    f"Kernel {self.name!r} did not answer within {limit:g} s of its start.",
                    stderr=self.raw_text,
                )
            if now - self._asked > 1.0:
                self._ask()
        elif self.quirks.heartbeat:
            self._check_heartbeat(now)

    def _check_process(self, now: float) -> None:
        if self._local is not None:
            try:
                self._local.read_status()
            except KernelStartError as error:
                raise KernelStartError(f"Kernel {self.name!r} can't be started. {error}") from None
            alive = self._local.exit_code is None
        elif now - self._polled > 1.0:
            self._polled = now
            alive = bool(self._manager and self._manager.is_alive())
        else:
            return
        if not alive:
            kind = KernelDiedError if self.ready else KernelStartError
            code = self._local.exit_code if self._local is not None else None
            raise kind(self._obituary(), stderr=self.raw_text, returncode=code)

    def _check_heartbeat(self, now: float) -> None:
        if not self._beating and now - self._beat_sent > HEARTBEAT_SECONDS:
            self._beat_sent, self._beating = now, True
            self.sockets["hb"].send(b"ping", zmq.NOBLOCK)
        elif self._beating and now - self._beat_sent > self._settings.answer_timeout:
            raise KernelDiedError(
                f"Kernel {self.name!r} has not answered heartbeats for {self._settings.answer_timeout:g} s.",
                stderr=self.raw_text,
            )

    def _obituary(self) -> str:
        when = "died" if self.ready else "ended while starting"
        how = self._local.how_it_ended() if self._local is not None else ""
        return f"Kernel {self.name!r} {when}{how}."

    @property
    def raw_text(self) -> str:
        """End of what the kernel's process wrote outside the protocol."""
        return self.raw_tail.decode(errors="replace").strip()

    # -- stopping ------------------------------------------------------------------------------------

    def request_shutdown(self) -> None:
        """Ask the kernel to end by itself, so that its exit handlers run."""
        if self.quirks.hang_up and self._local is not None:
            self._local.signal_kernel(signal.SIGHUP)
        elif self.sockets:
            self.send("control", "shutdown_request", {"restart": False})

    @property
    def ended(self) -> bool:
        """Whether its process is gone. Does not raise."""
        if self._manager is None:
            return True
        if self._local is None:
            return not self._manager.is_alive()
        try:
            self._local.read_status()
        except KernelStartError:
            pass
        return self._local.exit_code is not None

    @property
    def left(self) -> bool:
        """Whether a kernel that was asked to end has done all it had to, and is alone: the rest is up to the system,
        which takes some hundredths to put a process away. Known of kernels that `python_start` started.
        """
        said = self._says_farewell and self.farewell is not None and bool(self.farewell.poll(0))
        return said and self._local is not None and self._local.is_alone

    def close(self) -> None:
        """Kill what is left of the kernel, everything below it, and give back its sockets and folder.

        Waits until the guard has gone, at most some tenths of a second.
        """
        self.let_go()
        self.wait()

    def let_go(self) -> None:
        """The first half of `close`, which waits for nothing."""
        if self.farewell is not None:
            self.sockets["iopub"].disable_monitor()
            self.farewell.close(linger=0)
            self.farewell = None
        for socket in self.sockets.values():
            socket.close(linger=0)
        self.sockets.clear()
        if self._local is not None:
            self._local.release()

    def wait(self) -> None:
        """The second half of `close`: afterwards nothing of the kernel is left."""
        manager, self._manager = self._manager, None
        if manager is not None and self._local is None:
            manager.shutdown_kernel(now=True)
        elif manager is not None and self._local is not None:
            self._local.wait_for_guard()
            manager.cleanup_resources()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
