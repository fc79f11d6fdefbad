"""One small run of every experiment, from its own tests, for the tests that hold for all of them.

`SMALL_RUN` in `tests/test_variation.py` has the arguments of `vary` but the lab and the components.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from conftest import as_dictionary
from torch import Tensor

from latentlab.analysis.pca import Directions
from latentlab.experiments import EXPERIMENTS, Experiment, Result


def tests_of(experiment: Experiment) -> str:
    """The name of the module with the experiment's tests."""
    return f"test_{experiment.__module__.rpartition('.')[2]}"


def small_run(experiment: Experiment) -> dict[str, Any] | None:
    name = tests_of(experiment)
    return getattr(import_module(name), "SMALL_RUN", None) if find_spec(name) else None


MEASURING = [e for e in EXPERIMENTS.values() if issubclass(e.result, Result)]
RUNS: dict[str, dict[str, Any]] = {e.name: run for e in MEASURING if (run := small_run(e)) is not None}


def pictures(name: str) -> dict[str, Tensor]:
    """The pictures that a run takes, by parameter."""
    return {parameter: v for parameter, v in RUNS[name].items() if isinstance(v, Tensor) and v.ndim == 4}


def arguments(name: str, directions: Directions) -> dict[str, Any]:
    """All arguments of a run but the lab."""
    fitted = {"directions": directions, "dictionary": as_dictionary(directions)}
    return {**RUNS[name], **{k: v for k, v in fitted.items() if k in EXPERIMENTS[name].signature.parameters}}
