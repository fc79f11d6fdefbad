"""The models of this server: one is loaded at a time, when somebody first runs it."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module
from pathlib import Path

import latentlab

from .. import models
from ..errors import UserError
from ..experiments import Progress

DEFAULT_MODEL = os.environ.get("LATENTLAB_MODEL", "emoji")
_LOADED: dict[str, models.Lab] = {}
_LOCK = threading.Lock()
AVAILABLE = "", ""


def loaded_lab(name: str) -> models.Lab | None:
    return _LOADED.get(name)


def on_zero_gpu() -> bool:
    """Whether this is a Space that is lent a GPU for each run, where only what was loaded at the start is at hand."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))


def get(name: str) -> models.Lab:
    """The lab; if another one is loaded, that is released first."""
    models.spec(name)
    lab = _LOADED.get(name)
    if lab:  # without the lock, which a forked GPU process could find closed for ever
        return lab
    with _LOCK:
        if name not in _LOADED:
            _LOADED.clear()
            gc.collect()
            _LOADED[name] = latentlab.load(name)
        return _LOADED[name]


def load_with_progress(name: str) -> Iterator[Progress]:
    """`yield from` this: the lab, with the seconds so far where it has to be loaded first.

    Raises:
        UserError: it can't be loaded here; a visitor never makes this machine download a model.
    """
    name = models.spec(name).name
    if name not in _LOADED:
        reason = unavailable_reason(name)
        if reason:
            raise UserError(reason)
        began, pool = time.monotonic(), ThreadPoolExecutor(1)
        loading = pool.submit(get, name)
        pool.shutdown(wait=False)  # a visitor who cancels leaves it to load on
        while not wait([loading], 0.5).done:
            yield Progress(f"loading the model {name}, {time.monotonic() - began:.0f} s so far", 0, 1)
        return loading.result()
    return get(name)


def warm_up(lab: models.Lab) -> None:
    """Draw once before the first visitor does: what is set up at a first use is not theirs to wait for.

    Only on an embedded model, which takes a second or two for it.
    """
    if not on_zero_gpu() and not models.spec(lab.name).sources:
        latentlab.generate(lab, "a red apple", seeds=range(4), steps=2)


def set_lab(lab: models.Lab) -> None:
    """Take a lab that was loaded elsewhere."""
    _LOADED[lab.name] = lab


def unavailability(name: str) -> tuple[str, str]:
    """Why a model can't be loaded here, in two words and in a sentence; two empty texts if it can."""
    spec = models.spec(name)
    if name in _LOADED:
        return AVAILABLE
    if on_zero_gpu():
        reason = f"this Space lends its GPU to the model that it started with; LATENTLAB_MODEL={name} starts another"
        return "not on this Space", reason
    availability = models.availability(spec)
    if availability["cached"] is False:
        reason = f"{name} is not downloaded here, and a visitor can't start that: `latentlab models` says what it takes"
        return "not downloaded", reason
    if availability["why_not"]:
        return "too large for this machine", f"{name} {availability['why_not']}"
    problems = [] if spec.sources else getattr(import_module(f"latentlab.models.{spec.family}"), "verify", list)()
    return (
        ("damaged", f"{name}'s weights are missing or damaged: `latentlab doctor` says more") if problems else AVAILABLE
    )


def unavailable_reason(name: str) -> str:
    """Why a model can't be loaded here, in a sentence; empty if it can."""
    return unavailability(name)[1]


def dropdown_choices() -> list[tuple[str, str]]:
    """The registry for a drop-down: (label, name), each label with what stands against loading it."""
    lines = []
    for spec in models.REGISTRY.values():
        short = unavailability(spec.name)[0]
        lines.append((f"{spec.name}: {spec.about}" + (f" ({short})" if short else ""), spec.name))
    return lines


def gallery(name: str) -> list[tuple[Path, str]]:
    """A model's sample pictures with captions; the embedded model's for one that ships none."""
    return models.gallery(name) or models.gallery("emoji")


def validated_name(name: str | None) -> str:
    """A registry name.

    Raises:
        UserError: it is none.
    """
    if not isinstance(name, str):
        raise UserError("no model is chosen: pick one at the top of the page")
    return models.spec(name).name
