"""Has a program's own MLflow calls land in the run's MLflow run. Runs in kernels of Python; `kernel_setup` sends it.

Nothing happens before the program imports MLflow; then three functions of ``mlflow.tracking.fluent`` (3.x, 2.x) get
a wrapper, and so does the class that stands behind every ``models:/…``. MLflow alone would attach the first
``start_run()`` only, by MLFLOW_RUN_ID, and refuse to if the program names an experiment of its own.

- The first ``start_run()``, and any call that starts a run by itself, resumes the gateway's run.
- Each later one becomes a child of it: resuming would refuse parameters that change from block to block.
- A model that is logged while no run is active (3.x asks for none) is one of the gateway's run.
- ``set_experiment()`` returns what it is asked for, but runs stay in the experiment of the gateway's run.
- A registered model that the program loads becomes a tag of the run, by which `lineage` finds it.
- Whoever sets another tracking URI, or asks for a run by its id, gets what MLflow gives.

Must need nothing but the standard library, and work in Python 3.8.
"""

import functools
import hashlib
import importlib.machinery
import inspect
import json
import os
import sys
import time
from typing import Any

MODULE = "mlflow.tracking.fluent"
MODELS_MODULE = "mlflow.store.artifact.models_artifact_repo"
USED_TAG = "kernel_gateway.used."
RUN_VARIABLE = "MLFLOW_RUN_ID"
BLOCK_TAG = "kernel_gateway.block"
MARK = "_kernel_gateway_original"


class Attachment:
    """The run to attach to. ``file`` comes to hold it, where it is not known yet; the program waits for that for
    ``patience`` seconds when it first needs it. ``blocks``: how many runs the program has started at top level.
    """

    def __init__(self, uri: str, run_id: str, experiment_id: str, file: str, patience: float) -> None:
        self.uri = uri
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.file = file
        self.patience = patience
        self.blocks = 0

    def is_here(self, fluent: Any) -> bool:
        """Whether the program talks to the MLflow that has the run, and the run is there."""
        if str(fluent._resolve_tracking_uri()).rstrip("/") != self.uri.rstrip("/"):
            return False
        deadline = time.monotonic() + self.patience
        while not self.run_id:
            try:
                with open(self.file, encoding="utf-8") as file:
                    self.run_id, self.experiment_id = json.load(file)
            except (OSError, ValueError):
                if time.monotonic() >= deadline:
                    self.patience = 0.0
                    return False
                time.sleep(0.02)
        return True

    def patch(self, fluent: Any) -> None:
        """Wrap the functions of MLflow's fluent module, before ``import mlflow`` takes them over."""
        fluent.start_run = self.around_start_run(fluent, original(fluent.start_run))
        fluent.set_experiment = self.around_set_experiment(fluent, original(fluent.set_experiment))
        if hasattr(fluent, "_create_logged_model"):
            fluent._create_logged_model = self.around_create_model(fluent, original(fluent._create_logged_model))
        mlflow = sys.modules.get("mlflow")
        for name in ("start_run", "set_experiment"):
            if mlflow is not None and hasattr(mlflow, name):  # imported before, by a kernel that was kept warm
                setattr(mlflow, name, getattr(fluent, name))

    def patch_models(self, module: Any) -> None:
        """Wrap the class that resolves ``models:/NAME@ALIAS``, whichever of MLflow's functions loads the model."""
        repository = module.ModelsArtifactRepository
        repository.__init__ = self.around_models(original(repository.__init__))

    def around_models(self, resolve: Any) -> Any:
        """Its ``__init__``, which remembers the version that it has found."""
        known = set()

        @functools.wraps(resolve)
        def noted(repository: Any, artifact_uri: Any, *arguments: Any, **named: Any) -> None:
            resolve(repository, artifact_uri, *arguments, **named)
            name, version = getattr(repository, "model_name", None), getattr(repository, "model_version", None)
            if not name or not version or (name, version) in known:
                return
            known.add((name, version))
            try:
                fluent = sys.modules[MODULE]
                if self.is_here(fluent):
                    value = json.dumps({"model": str(name), "version": str(version), "uri": str(artifact_uri)})
                    fluent.MlflowClient().set_tag(self.run_id, used_tag(str(name), str(version)), value)
            except Exception as error:  # noqa: BLE001 — the program has its model: no reason to fail it
                print(f"[kernel-gateway] The use of {artifact_uri} can't be noted: {error}", file=sys.stderr)

        setattr(noted, MARK, resolve)
        return noted

    def around_start_run(self, fluent: Any, start_run: Any) -> Any:
        """``start_run`` that attaches."""
        signature = inspect.signature(start_run)

        @functools.wraps(start_run)
        def attached(*arguments: Any, **named: Any) -> Any:
            given = signature.bind(*arguments, **named).arguments
            variable = os.environ.pop(RUN_VARIABLE, None)
            ours = variable in (None, "", self.run_id)
            nested = fluent.active_run() is not None
            if given.get("run_id") or given.get("parent_run_id") or nested or not ours or not self.is_here(fluent):
                if variable is not None and not ours:
                    os.environ[RUN_VARIABLE] = variable  # the program has set it itself
                return start_run(*arguments, **named)
            self.blocks += 1
            fluent._active_experiment_id = self.experiment_id
            given.pop("experiment_id", None)
            if self.blocks == 1:
                given["run_id"] = self.run_id
            else:
                given["parent_run_id"] = self.run_id
                given["tags"] = {**(given.get("tags") or {}), BLOCK_TAG: str(self.blocks)}
            return start_run(**given)

        setattr(attached, MARK, start_run)
        return attached

    def around_create_model(self, fluent: Any, create: Any) -> Any:
        """``_create_logged_model`` that gives the run to a model that has none."""
        signature = inspect.signature(create)

        @functools.wraps(create)
        def attached(*arguments: Any, **named: Any) -> Any:
            given = signature.bind(*arguments, **named).arguments
            if given.get("source_run_id") or fluent.active_run() is not None or not self.is_here(fluent):
                return create(*arguments, **named)
            from mlflow.entities import LoggedModelOutput

            model = create(**{**given, "source_run_id": self.run_id})
            fluent.MlflowClient().log_outputs(self.run_id, models=[LoggedModelOutput(model.model_id, step=0)])
            return model

        setattr(attached, MARK, create)
        return attached

    def around_set_experiment(self, fluent: Any, set_experiment: Any) -> Any:
        """``set_experiment`` after which runs stay where they belong."""

        @functools.wraps(set_experiment)
        def kept(*arguments: Any, **named: Any) -> Any:
            here = self.is_here(fluent)  # first, as it may have to wait for a database that is being made
            experiment = set_experiment(*arguments, **named)
            if here:
                fluent._active_experiment_id = self.experiment_id
                os.environ["MLFLOW_EXPERIMENT_ID"] = self.experiment_id
            return experiment

        setattr(kept, MARK, set_experiment)
        return kept


def original(function: Any) -> Any:
    """MLflow's own function, without the wrapper of an earlier run that the same kernel served."""
    return getattr(function, MARK, function)


def used_tag(name: str, version: str) -> str:
    """The tag of a run that has loaded a version of a registered model; names may hold what no tag may."""
    return USED_TAG + hashlib.sha256(f"{name}/{version}".encode()).hexdigest()[:24]


class Finder:
    """Stands first among the import system's finders until its module comes along."""

    _kernel_gateway_original = None  # as `MARK`: known again by a later run in the same kernel

    def __init__(self, module: str, patch: Any) -> None:
        self.module = module
        self.patch = patch

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """None for every module but one; that one gets a loader that patches it."""
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                self.patch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install(uri: str, run_id: str, experiment_id: str, file: str, patience: float) -> None:
    """Attach this process to a run, now or when it imports MLflow."""
    attachment = Attachment(uri, run_id, experiment_id, file, patience)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not hasattr(finder, MARK)]
    for name, patch in ((MODULE, attachment.patch), (MODELS_MODULE, attachment.patch_models)):
        module = sys.modules.get(name)
        if module is not None:
            patch(module)
        else:
            sys.meta_path.insert(0, Finder(name, patch))
