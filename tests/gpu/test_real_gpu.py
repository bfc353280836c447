"""On a machine with an NVIDIA GPU and torch: a program trains on the GPU that it got, and what it used is measured."""

from __future__ import annotations

import importlib.util

import pytest

from kernel_gateway.kernels.nvml import Gpu, list_gpus
from tests.command.conftest import Run
from tests.service.conftest import Serve
from tests.service.idle import wait_for_idle

pytestmark = pytest.mark.slow

TRAIN = """\
import torch
assert torch.cuda.device_count() == 1, torch.cuda.device_count()
torch.manual_seed(0)
x = torch.randn(65536, 512, device="cuda")
y = x @ torch.randn(512, 1, device="cuda")
model = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 1)).cuda()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
first = None
for step in range(400):
    loss = torch.nn.functional.mse_loss(model(x), y)
    first = first or loss.item()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
torch.cuda.synchronize()
print(f"::metric name=improvement value={first / loss.item()}")
print("allocated", torch.cuda.max_memory_allocated())
"""


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    """The machine's first GPU; where there is none, nothing can be tried."""
    found, problem = list_gpus()
    if not found:
        pytest.skip(f"NVML finds no GPU on this machine{': ' + problem if problem else ''}")
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed beside the kernel, so nothing would use the GPU")
    return found[0]


def test_torch_trains_on_the_gpu_and_its_use_is_in_the_results(run: Run, gpu: Gpu) -> None:
    done = run("-c", TRAIN, "--gpus", "1", "--require", "improvement > 2", "--require", "gpu.memory.peak > 1e8")

    done.assert_results("succeeded", 0)
    used = done.record["resources"]["used"]
    allocated = int(done.text().split("allocated ")[1])
    assert allocated <= used["gpu.memory.peak"] <= gpu.memory
    assert used["gpu.utilization.peak"] > 0
    assert "GPU-hours" in (done.folder / "report" / "index.html").read_text()


def test_torch_sees_no_gpu_that_was_not_asked_for(run: Run, gpu: Gpu) -> None:
    assert run("-c", "import torch; print(torch.cuda.is_available())").text() == "False\n"


def test_a_warm_kernel_with_torch_imported_beforehand_trains_too(serve: Serve, gpu: Gpu) -> None:
    service = serve("--slots", "1", "--warm", "python3=1", "--preload", "torch")
    wait_for_idle(service, seconds=110)
    id = service.submit(TRAIN, gpus=1, require=["improvement > 2"])

    assert service.wait_for(id, seconds=110) == "succeeded", service.events(id)[-3:]
