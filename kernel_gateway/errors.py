"""What can go wrong, and what the world is told about it.

    GatewayError
    ├── UsageError                   the request can't be carried out as written
    │   ├── SourceError              the source can't be read as a program
    │   ├── ParameterError           a parameter is unknown or can't be written in the kernel's language
    │   ├── KernelspecError          no such kernelspec
    │   ├── GateError                a gate's expression doesn't parse
    │   └── ResourceError            this machine lacks what was asked for (GPUs, label)
    ├── KernelError                  a kernel let the run down
    │   ├── KernelStartError         it did not start or never answered
    │   └── KernelDiedError          it died, restarted by itself, or stopped answering
    ├── EnvironmentBuildError        the kernel's package environment could not be built
    ├── StorageError                 events or results can't be written
    ├── UnreachableError             no gateway there, or it refused
    ├── AuthError                    no valid token
    ├── ForbiddenError               the token's scope does not allow it
    ├── NotFoundError                no run, file or blob of that name
    ├── ConflictError                it contradicts an earlier request
    ├── TooLargeError                more bytes than the gateway takes
    └── TooManyError                 more queued runs than a token may have

`EXIT_CODES` is the one table from a run's status to the command's exit code.
"""

from __future__ import annotations

from .events import Status

EXIT_CODES: dict[Status, int] = {
    Status.SUCCEEDED: 0,
    Status.FAILED: 1,
    Status.UNSTABLE: 3,
    Status.TIMED_OUT: 4,
    Status.KERNEL_DIED: 5,
    Status.LOST: 5,
    Status.CANCELLED: 130,
}
"""Exit code of `kernel-gateway run` by the status its run ended with."""


class GatewayError(Exception):
    """Base of all errors that are shown to a person. Its text is a sentence that says what to do.

    ``exit_code`` is what the command line exits with, ``http_status`` what the API answers,
    ``status`` how a run ends that meets the error after it was queued.
    """

    exit_code = 1
    http_status = 500
    status = Status.FAILED


class UsageError(GatewayError):
    """The request can't be carried out as written; `field` names the option or field at fault."""

    exit_code = 2
    http_status = 422

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class SourceError(UsageError):
    """The source can't be read as a program."""


class ParameterError(UsageError):
    """A parameter is unknown to the program, or its value can't be written in the kernel's language."""


class KernelspecError(UsageError):
    """No such kernelspec; the text lists the installed ones."""


class GateError(UsageError):
    """A gate's expression doesn't parse; the text points at the column."""


class ResourceError(UsageError):
    """This machine lacks what was asked for (GPUs, a label)."""


class KernelError(GatewayError):
    """A kernel let the run down.

    ``stderr`` is the end of what its process printed outside the protocol, ``returncode`` how the process
    ended (negative for a signal), or None if it did not end or nobody can tell.
    """

    exit_code = 5
    http_status = 502
    status = Status.KERNEL_DIED

    def __init__(self, message: str, *, stderr: str = "", returncode: int | None = None) -> None:
        super().__init__(message)
        self.stderr = stderr
        self.returncode = returncode


class KernelStartError(KernelError):
    """The kernel's process could not be started, ended while starting, or never answered."""


class KernelDiedError(KernelError):
    """The kernel died, restarted by itself, or stopped answering in mid-run."""


class EnvironmentBuildError(GatewayError):
    """The kernel's package environment could not be built; the text holds the resolver's words."""


class StorageError(GatewayError):
    """Events or results can't be written, e.g. because the disk is full."""

    http_status = 507


class UnreachableError(GatewayError):
    """No gateway answers at the URL, or it refused the request."""

    exit_code = 6
    http_status = 503


class AuthError(GatewayError):
    """The request carries no valid token."""

    exit_code = 6
    http_status = 401


class ForbiddenError(GatewayError):
    """The token's scope does not allow the request."""

    exit_code = 6
    http_status = 403


class NotFoundError(GatewayError):
    """No run, file or blob of that name."""

    exit_code = 6
    http_status = 404


class ConflictError(GatewayError):
    """The request contradicts an earlier one: the same idempotency key with another body.

    `run` is the id of the run that the earlier one became, where it became one.
    """

    exit_code = 6
    http_status = 409

    def __init__(self, message: str, *, run: str | None = None) -> None:
        super().__init__(message)
        self.run = run


class TooLargeError(GatewayError):
    """More bytes than the gateway takes in one request."""

    exit_code = 6
    http_status = 413


class TooManyError(GatewayError):
    """More queued runs than a token may have."""

    exit_code = 6
    http_status = 429
