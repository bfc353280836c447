"""`--register` and `--promote`: which of a run's logged models becomes a version, and when an alias moves to it."""

from __future__ import annotations

from dataclasses import dataclass

from .mlflow_client import MlflowClient
from .note import Note


@dataclass(frozen=True)
class Registered:
    """What became of it, in a sentence. ``failed``: the program logged no model that could be meant."""

    message: str
    failed: bool = False


def register(client: MlflowClient, note: Note, run: str) -> Registered:
    """Register the model that a run logged, and set the alias that ``note.register`` names. Raises as `client` does."""
    assert note.register is not None
    assert note.run_id is not None
    assert note.experiment_id is not None
    name, alias = str(note.register["name"]), note.register.get("alias")
    models = client.logged_models([note.run_id, *client.blocks(note.experiment_id, note.run_id)])
    chosen = models if len(models) == 1 else [model for model in models if model[1] == name]
    if not models:
        return Registered(
            f"--register {name}: the program logged no MLflow model. Log one, e.g. by mlflow.sklearn.log_model.", True
        )
    if len(chosen) != 1:
        logged = ", ".join(sorted(model[1] for model in models))
        return Registered(
            f"--register {name}: the program logged several MLflow models ({logged}), and not one of the name "
            f"{name!r}. Give the one that is meant that name when it is logged.",
            True,
        )
    model_id, _, run_id = chosen[0]
    version = client.register(name, model_id, run_id, run)
    if not alias:
        return Registered(f"MLflow model {name!r}: version {version.version} is registered.")
    client.set_alias(name, str(alias), version.version)
    return Registered(f"MLflow model {name!r}: version {version.version} is registered, and is {alias!r} now.")
