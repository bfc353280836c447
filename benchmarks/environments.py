"""What a run in an environment costs once it is built: ``python -m benchmarks.environments [REPEATS]``.

`kernel-gateway run -c 'print(1)'` with and without ``--env requirements.txt``, in turns; prints the medians in seconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(repeats: int) -> dict[str, list[float]]:
    """Seconds of each whole command, by what it was given."""
    with tempfile.TemporaryDirectory(prefix="environments-") as name:
        folder = Path(name)
        (folder / "requirements.txt").write_text("six==1.16.0\n", encoding="utf-8")
        ways: dict[str, list[str]] = {"without": [], "with --env": ["--env", "requirements.txt"]}
        _run(folder, ways["with --env"])  # builds it
        samples: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, arguments in ways.items():
                samples[way].append(_run(folder, arguments))
        return samples


def _run(folder: Path, arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "kernel_gateway", "run", "-c", "print(1)", *arguments],
        cwd=folder,
        env={**os.environ, "KERNEL_GATEWAY_URL": "", "KERNEL_GATEWAY_ENV_CACHE": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def main() -> None:
    """Print the medians and all samples."""
    for way, seconds in measure(int(sys.argv[1]) if sys.argv[1:] else 7).items():
        print(f"{way:12}{statistics.median(seconds):6.2f} s  ({', '.join(f'{each:.2f}' for each in seconds)})")


if __name__ == "__main__":
    main()
