"""What ``GET /agents`` answers: the agents, what they have, and who holds it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PoolView(BaseModel):
    """Kernels of one kind that an agent keeps warm."""

    kernel: str
    env: str | None = Field(None, description="Environment file of the kernels, if they have one.")
    idle: int = Field(description="Ready for a run.")
    starting: int = Field(description="Not ready yet.")
    target: int = Field(description="How many there should be now; it follows demand.")
    problem: str = Field("", description="Why the last one was lost, until one works again.")


class AmountView(BaseModel):
    """CPUs, or bytes of memory."""

    total: float = Field(description="What runs may ask for.")
    free: float = Field(description="What no run holds that asked for it.")


class HolderView(BaseModel):
    """What a run holds."""

    run: str
    gpus: list[str] = []
    cpus: float = Field(0, description="0 for a run that asked for none.")
    memory: int = Field(0, description="Bytes; 0 for a run that asked for none.")


class DeviceView(BaseModel):
    """A GPU as NVML tells of it."""

    id: str = Field(description="Its UUID, by which runs see it.")
    index: int = Field(description="Its number in the order of the PCI bus.")
    name: str
    memory: int = Field(description="Bytes.")


class NodeView(BaseModel):
    """A machine of a cluster."""

    name: str = Field(description="Its address.")
    id: str
    cpus: float
    gpus: int
    memory: int = Field(description="Bytes.")
    labels: list[str] = Field(description="What a run may name as its label.")
    runs: list[str]
    version: str | None = Field(description="Of its kernel-gateway; null where none is installed.")
    problem: str = Field(description="Why it gets no run; empty if it can.")


class AgentView(BaseModel):
    """A place where runs are executed."""

    name: str
    slots: int = Field(description="Runs at once.")
    busy: int = Field(description="Slots that are taken.")
    gpus: dict[str, str | None] = Field(description="GPU to the run that holds it, or null.")
    elsewhere: list[str] = Field([], description="GPUs that a process of the same user has, but no run of the service.")
    devices: list[DeviceView] = Field([], description="What NVML says of its GPUs.")
    gpu_problem: str = Field("", description="Why NVML could not say more.")
    cpus: AmountView
    memory: AmountView
    holders: list[HolderView] = Field([], description="The runs that hold something, a slot at least.")
    labels: list[str]
    pool: list[PoolView] = Field(description="Idle kernels that are kept ready.")
    nodes: list[NodeView] = Field([], description="The machines, of a cluster.")
    problem: str = Field("", description="Why no run is started now.")
    alive: bool = Field(description="Whether it gave a sign of life in the last seconds.")


class AgentList(BaseModel):
    """The agents."""

    agents: list[AgentView]
