"""Who is measured. A new contestant is a class and one line here; see docs/performance.md."""

from __future__ import annotations

from .base import Contestant
from .gateway import PRELOAD, WARM, ByService, Embedded
from .peers import BareLoop, JupyterGateway, Nbclient, Papermill, Script, SocketLoop

CONTESTANTS: dict[str, Contestant] = {
    contestant.name: contestant
    for contestant in (
        Embedded(),
        ByService("cold", "`kernel-gateway run --gateway URL`; the service starts a kernel for each run"),
        ByService("warm", f"the same; the service keeps {WARM} started kernels (`--warm python3={WARM}`)", WARM),
        ByService(
            "forked",
            f"the same; {WARM} kernels forked with their libraries (`--preload {PRELOAD} --warm python3={WARM}`)",
            WARM,
            PRELOAD,
        ),
        Papermill(),
        Nbclient(),
        JupyterGateway(),
        BareLoop(),
        SocketLoop(),
        Script(),
    )
}

OURS = [name for name, contestant in CONTESTANTS.items() if contestant.ours]

__all__ = ["CONTESTANTS", "OURS", "Contestant"]
