"""Finds or installs the command kernel-gateway for one kernelRun step, and becomes it. Standard library only.

    bootstrap.py FOLDER      FOLDER/request.json holds the step's options

In this order: the command on the PATH, if it is of the gateway's version (without a gateway: any); an environment in
the cache; a new one there, made of the wheel that the gateway serves at /client/, or of KERNEL_GATEWAY_PACKAGE.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

PYTHON = f"py{sys.version_info[0]}{sys.version_info[1]}"
SECONDS = 60.0
"""That an answer may take."""

PATIENCE = 10.0
"""Seconds for which a gateway that is away, as when it restarts, is waited for."""

LINK = re.compile(r'<a href="([A-Za-z0-9_.+!-]+\.whl)#sha256=([0-9a-f]{64})"')
OWN = re.compile(r"kernel_gateway-([^-]+)-py3-none-any\.whl")


class Problem(Exception):
    """What keeps the command from being run, in a sentence for the console; ``code``: the step's exit code."""

    def __init__(self, sentence: str, code: int = 127) -> None:
        super().__init__(sentence)
        self.code = code


def main(folder: Path) -> None:
    """Never returns: becomes the command."""
    options = ["run", "--options", str(folder / "request.json")]
    url = json.loads((folder / "request.json").read_bytes()).get("gateway")
    url = os.environ.get("KERNEL_GATEWAY_URL", "") if url is None else url
    wheels = listed(url) if url else {}
    wanted = next((found[1] for name in wheels if (found := OWN.fullmatch(name))), None)
    command = shutil.which("kernel-gateway")
    if command and (wanted is None or version_of(command) == wanted):
        os.execv(command, [command, *options])
    python = environment(url, wheels, wanted, folder)
    # -P: a file in the workspace that is called like a module must not take its place.
    os.execv(python, [str(python), "-P", "-m", "kernel_gateway", *options])


def say(sentence: str) -> None:
    """A line in the build's console."""
    print(f"kernelRun: {sentence}", file=sys.stderr, flush=True)


def listed(url: str) -> dict[str, str]:
    """File name → SHA-256 of the wheels at a gateway; the command's own comes first."""
    page = fetch(url, "").decode("utf-8", "replace")
    found = dict(LINK.findall(page))
    if not any(OWN.fullmatch(name) for name in found):
        raise Problem(f"{url}/client/ lists no wheel of the command: is it a kernel gateway's address?", 6)
    return found


def fetch(url: str, name: str) -> bytes:
    """A file below a gateway's /client/. No token goes there: the page is for everybody."""
    address = f"{url.rstrip('/')}/client/{urllib.parse.quote(name)}"
    own_ca = os.environ.get("SSL_CERT_FILE") if address.startswith("https:") else None
    context = ssl.create_default_context(cafile=own_ca) if own_ca else None
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS, context=context) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            reason, may_pass = f"{address} answers {error.code} {error.reason}.", error.code >= 500
        except ValueError as error:
            reason, may_pass = f"{url!r} is no address of a gateway: {error}.", False
        except (OSError, http.client.HTTPException) as error:
            told = getattr(error, "reason", None) or error
            reason, may_pass = f"the gateway {shown(url)} can't be reached: {told}. Check address and network.", True
        if not may_pass or time.monotonic() > deadline:
            raise Problem(reason, 6)
        time.sleep(0.5)


def version_of(command: str) -> str | None:
    """What a command says its version is."""
    try:
        told = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.split()[-1] if told.stdout.split() else None


def environment(url: str, wheels: dict[str, str], wanted: str | None, folder: Path) -> Path:
    """The Python of an environment with the command, made if need be."""
    package = os.environ.get("KERNEL_GATEWAY_PACKAGE", "")
    if wanted is None and not package:
        raise Problem(
            "there is no command kernel-gateway on this agent. Name a gateway (gateway: or KERNEL_GATEWAY_URL), which"
            " has it ready; or set KERNEL_GATEWAY_PACKAGE to what pip can install (a wheel's path, a URL), or put the"
            " command on the agent's PATH."
        )
    own = next((name for name in wheels if OWN.fullmatch(name)), "")
    # A gateway that runs a clone may change without its version; so what it serves counts as well.
    digest = wheels[own] if own else hashlib.sha256(fingerprint(package)).hexdigest()
    cache = cache_folder(folder)
    place = cache / f"client-{wanted or 'package'}-{digest[:12]}-{PYTHON}"
    if not usable(place):
        with locked(cache / f".{place.name}.lock") as alone:
            if not usable(place):
                make(place, url, wheels, own, package, alone)
    return place / "bin" / "python"


def fingerprint(package: str) -> bytes:
    """What tells one package from the next: its name, and a file's content."""
    path = Path(package)
    return path.read_bytes() if path.is_file() else package.encode()


def cache_folder(folder: Path) -> Path:
    """The first folder of those where environments may lie that can be written."""
    named = os.environ.get("KERNEL_GATEWAY_HOME")
    home = os.path.expanduser("~/.cache/kernel-gateway")
    places = [Path(named)] if named else [Path(home), folder.parent / "kernel-gateway"]
    for place in places:
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
            return place.resolve()
    raise Problem(f"{places[0]} can't be written. Set KERNEL_GATEWAY_HOME to a folder for the command's environment.")


def usable(place: Path) -> bool:
    """Whether an environment is there: its link is set when it is whole."""
    return (place / "bin" / "python").exists()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """One step at a time. False where the file system knows no locks: then two may do the same work, unharmed."""
    with path.open("w") as file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another step that installs the command")
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True


def make(place: Path, url: str, wheels: dict[str, str], own: str, package: str, alone: bool) -> None:
    """Make an environment in a folder of its own; the link that makes it count comes last, so half of one never does.

    The folder keeps its name, since the scripts of an environment hold it.
    """
    if alone:
        for left in place.parent.glob(f"{place.name}.*"):
            shutil.rmtree(left, ignore_errors=True)
    target = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        with tempfile.TemporaryDirectory(prefix="kernel-gateway-") as downloads:
            for name, sha256 in wheels.items():
                content = fetch(url, name)
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise Problem(f"{name} came from {url} with another SHA-256 than it lists. Try again.", 6)
                Path(downloads, name).write_bytes(content)
            what = str(Path(downloads, own)) if own else package
            say(f"installing the command {'of ' + url if own else 'from ' + shown(package)} into {place}")
            install(target, what, Path(downloads), has_all=len(wheels) > 1)
        link = target.with_suffix(".link")
        link.symlink_to(target.name)
        link.replace(place)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def shown(package: str) -> str:
    """A requirement or URL without what may be a password."""
    return re.sub(r"//[^/@\s]*@", "//", package)


def install(target: Path, what: str, downloads: Path, *, has_all: bool) -> None:
    """An environment with a package in it, by uv if that is there, else by pip. Wheels of the gateway come first."""
    ways = [[], ["--no-index"]][:: -1 if has_all else 1][: 2 if has_all else 1]
    tried = ""
    for tool in (uv_commands, pip_commands):
        try:
            setup, command, environ = tool(target, Path(what))
        except LookupError:
            continue
        for way in ways:
            done = call(setup, environ)
            if done.returncode == 0:
                done = call([*command, *way, "--find-links", str(downloads), what], environ)
            if done.returncode == 0:
                return
            tried = done.stdout
    if not tried:
        raise Problem(
            f"{sys.executable} can't make environments: the module venv or ensurepip is missing."
            " Install it (Debian: apt install python3-venv)."
        )
    lines = "\n".join(f"    {line}" for line in shown(tried).strip().splitlines()[-15:])
    raise Problem(
        "the command could not be installed; the installer's last words:\n"
        f"{lines}\nFor agents without a package index put all wheels into wheels/ in the gateway's data folder."
    )


def uv_commands(target: Path, wheel: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """What makes an environment with uv, what installs into it, and their variables. Raises LookupError without uv.

    uv does not read pip's settings; the package that is to be installed knows how to tell it. A package of another kind
    than the gateway's wheel is left to pip.
    """
    uv = shutil.which("uv")
    if uv is None or not wheel.is_file() or not zipfile.is_zipfile(wheel):
        raise LookupError
    sys.path.insert(0, str(wheel))
    try:
        from kernel_gateway.kernels.environments.package_indexes import uv_index_environment
    except ImportError:
        raise LookupError from None
    environ = plain_environ()
    environ |= uv_index_environment(environ, {})
    setup = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(target)]
    python = str(target / "bin" / "python")
    return setup, [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python], environ


def pip_commands(target: Path, wheel: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """The same with the standard library's venv. Raises LookupError where Debian left it out."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise LookupError
    setup = [sys.executable, "-I", "-m", "venv", "--clear", str(target)]
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return setup, pip, plain_environ()


def plain_environ() -> dict[str, str]:
    """The build's variables without those that make an installer put files elsewhere, or leave them uncompiled.

    Nor does it get the gateway's token: packages may run code of theirs when they are installed.
    """
    unwanted = ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in (*unwanted, "KERNEL_GATEWAY_TOKEN")}


def call(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run an installer, with its words kept for the case that it fails."""
    none, pipe, same = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT
    return subprocess.run(command, env=environ, stdin=none, stdout=pipe, stderr=same, text=True, check=False)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Problem as problem:
        say(str(problem))
        sys.exit(problem.code)
