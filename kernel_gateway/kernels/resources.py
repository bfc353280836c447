"""What this machine has to give: GPUs and labels."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ResourceError


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """GPUs that a run may be given, as ``CUDA_VISIBLE_DEVICES`` names them; empty where there are none.

    A list already set in the environment (by an agent, a batch system) is respected; else NVML is asked.
    """
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name for name in (part.strip() for part in listed.split(",")) if name and name != "-1"]
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 — no library, no driver, no permission: nothing to give
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def gpu_environment(count: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that give a run `count` GPUs. Raises `ResourceError` if there are fewer."""
    if count <= 0:
        return {}
    gpus = visible_gpus(environ)
    if len(gpus) < count:
        have = f"{len(gpus)} {'is' if len(gpus) == 1 else 'are'}" if gpus else "none is"
        raise ResourceError(
            f"The run asks for {count} GPU{'s' if count > 1 else ''}, but {have} visible on this machine.", field="gpus"
        )
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[:count])}


def check_label(label: str | None, labels: str) -> None:
    """Raise `ResourceError` unless this machine, with comma-separated `labels`, has the one asked for."""
    have = [name.strip() for name in labels.split(",") if name.strip()]
    if label is not None and label not in have:
        raise ResourceError(
            f"The run asks for an agent labelled {label!r}, but this machine has "
            f"{'the labels ' + ', '.join(have) if have else 'no labels'}. KERNEL_GATEWAY_LABELS sets them.",
            field="label",
        )
