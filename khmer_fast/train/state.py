"""What a checkpoint of a run holds, and whether one that was found can go on in this run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from khmer_fast.train.checkpoint import misfit
from khmer_fast.train.loop import Trainer, upgraded
from khmer_fast.train.task import Task


def checkpoint_state(trainer: Trainer, task: Task) -> dict[str, Any]:
    """All that a checkpoint holds."""
    return {**trainer.state(), **task.about}


def weights_writer(task: Task, state: dict[str, Any]) -> Callable[[Path], None]:
    """What writes the averaged weights of a checkpoint's state as best_model.safetensors."""
    return lambda path: task.write_weights(path, state["average"])


def misfit_of_run(state: dict[str, Any], expected: dict[str, Any], trainer: Trainer) -> str | None:
    """Why a checkpoint's state cannot go on in this run; None if it can.

    `expected` is what the run would save now. Progress may lack what a later version added.
    """
    for name, text in expected.items():  # config, charset, normalizer_version or task
        if type(text) is str and name != "data":
            if type(state.get(name)) is not str or state[name] != text:
                return f"its {name} is not the run's"
    progress = state.get("progress")
    if not isinstance(progress, dict) or not isinstance(progress.get("since"), dict):
        return "it does not say how far the run had come"
    progress = upgraded(progress)
    since = {**expected["progress"]["since"], **progress["since"]}
    whole = {
        **state,
        "progress": {**expected["progress"], **progress, "since": since},
        "optimizer": expected["optimizer"],
    }
    return misfit(whole, expected) or _misfit_of_optimizer(state.get("optimizer"), trainer)


def _misfit_of_optimizer(found: Any, trainer: Trainer) -> str | None:
    """The same for the moments, which a parameter has once it had a gradient."""
    try:
        numbers = [list(group["params"]) for group in found["param_groups"]]
        moments = dict(found["state"])
    except (TypeError, ValueError, LookupError):
        return "it has no optimizer"
    groups = trainer.optimizer.state_dict()["param_groups"]
    if numbers != [group["params"] for group in groups]:
        return "its optimizer is of other parameters"
    parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    by_muon = {n for group in groups if "matrices" in group for n in group["params"]}
    for number, found in moments.items():
        if type(number) is not int or not 0 <= number < len(parameters):
            return f"its optimizer has a parameter {str(number)[:20]}, of {len(parameters)}"
        p = parameters[number]
        expected = {"step": torch.zeros(()), "exp_avg": p, "exp_avg_sq": p}
        if number in by_muon:
            expected = {"momentum": p}
        why = misfit(found, expected, f"its optimizer's parameter {number}")
        if why is not None:
            return why
    return None
