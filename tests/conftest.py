"""What all tests share: real kernels, and the rule for those that this machine lacks."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from kernel_gateway.kernels.sandbox import works

REQUIRE_KERNELS = "KERNEL_GATEWAY_REQUIRE_KERNELS"
"""Environment variable that `scripts/test` sets: a missing kernel is then a failure."""


@pytest.fixture(scope="session")
def installed_kernels() -> frozenset[str]:
    """Names of the kernelspecs that this environment finds."""
    return frozenset(KernelSpecManager().find_kernel_specs())


@pytest.fixture(scope="session")
def require_kernel(installed_kernels: frozenset[str]) -> Callable[[str], str]:
    """A function that gives back a kernelspec's name where it is installed.

    Where it is not, the test is skipped with a reason that says how to install it; under `scripts/test`, and so in
    continuous integration, the test fails instead: a kernel that must work is never left out in silence.
    """

    def require(name: str) -> str:
        if name in installed_kernels:
            return name
        reason = f"the kernelspec {name!r} is not installed; `scripts/setup --kernels` installs it"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return require


@pytest.fixture
def require_sandbox() -> None:
    """Skip the test where bubblewrap does not work; under `scripts/test` it fails instead."""
    if not works():
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail("bubblewrap does not work here", pytrace=False)
        pytest.skip("bubblewrap does not work here")
