"""`python -m kernel_gateway` is the command `kernel-gateway`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
