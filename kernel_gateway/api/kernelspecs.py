"""``/kernelspecs``: what can run."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from .answers import json_answer
from .auth import scope
from .problems import answers
from .schemas import PREFIX, KernelspecList, KernelspecView
from .service import gateway

kernelspecs = APIBlueprint(
    "kernelspecs",
    __name__,
    url_prefix=PREFIX,
    abp_tags=[Tag(name="agents", description="What can run, and where.")],
    abp_security=[{"token": []}],
    abp_responses=answers(),
)


@kernelspecs.get("/kernelspecs", responses={"200": KernelspecList})
@scope("read")
def list_kernelspecs() -> Response:
    """The kernels that are installed."""
    found = gateway().kernelspecs().all()
    views = [
        KernelspecView(name=name, display_name=spec.display_name or name, language=(spec.language or "").lower())
        for name, spec in found.items()
    ]
    return json_answer(KernelspecList(kernelspecs=views))
