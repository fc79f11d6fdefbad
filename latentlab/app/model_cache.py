"""The server's models: one is loaded at a time, at the first run that needs it."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module
from pathlib import Path

import latentlab

from .. import models
from ..errors import UserError
from ..experiments import Progress
from ..paper.inputs import thing

DEFAULT_MODEL = os.environ.get("LATENTLAB_MODEL", "emoji")
_LOADED: dict[str, models.Lab] = {}
_LOCK = threading.Lock()
AVAILABLE = "", ""


def loaded_lab(name: str) -> models.Lab | None:
    return _LOADED.get(name)


def current() -> models.Lab | None:
    """The lab that is loaded; None while another one is being loaded."""
    return next(iter(_LOADED.values()), None)


def labels(lab: models.Lab) -> tuple[str, ...]:
    """The captions among which CLIP chooses: the things that the lab knows, or those of the sample pictures."""
    things = dict.fromkeys(thing(caption) for _, caption in gallery(lab.name))
    return lab.things or tuple(things)


def on_zero_gpu() -> bool:
    """Return whether this is a Space with ZeroGPU, whose GPU serves the model that was loaded at the start."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))


def get(name: str) -> models.Lab:
    """Return the lab of that name; another one that is loaded is released first."""
    models.spec(name)
    lab = _LOADED.get(name)
    if lab:  # without the lock, which a forked GPU process could inherit in its locked state
        return lab
    with _LOCK:
        if name not in _LOADED:
            _LOADED.clear()
            gc.collect()
            _LOADED[name] = latentlab.load(name)
        return _LOADED[name]


def load_with_progress(name: str) -> Generator[Progress, None, models.Lab]:
    """`yield from` this: the seconds that loading has taken, if the model is not loaded; it returns the lab.

    Raises:
        UserError: it can't be loaded here; a visitor never makes this machine download a model.
    """
    name = models.spec(name).name
    if name not in _LOADED:
        reason = unavailable_reason(name)
        if reason:
            raise UserError(reason)
        start, pool = time.monotonic(), ThreadPoolExecutor(1)
        loading = pool.submit(get, name)
        pool.shutdown(wait=False)  # the loading continues if the visitor cancels
        while not wait([loading], 0.5).done:
            yield Progress(f"loading the model {name}, {time.monotonic() - start:.0f} s so far", 0, 1)
        return loading.result()
    return get(name)


def warm_up(lab: models.Lab) -> None:
    """Generate once before the first visitor does, because a first run sets up what later runs reuse.

    Only an embedded model is warmed up, which takes a second or two.
    """
    if not on_zero_gpu() and not models.spec(lab.name).sources:
        latentlab.generate(lab, "a red apple", seeds=range(4), steps=2)


def set_lab(lab: models.Lab) -> None:
    """Add a lab that was loaded elsewhere."""
    _LOADED[lab.name] = lab


def unavailability(name: str) -> tuple[str, str]:
    """Return why a model can't be loaded here, as a short label and as a sentence; both are empty if it can."""
    spec = models.spec(name)
    if name in _LOADED:
        return AVAILABLE
    if on_zero_gpu():
        reason = f"this Space lends its GPU to the model that it started with; LATENTLAB_MODEL={name} starts this one"
        return "not on this Space", reason
    availability = models.availability(spec)
    if availability["cached"] is False:
        reason = f"{name} is not downloaded here, and a visitor can't start a download: `latentlab fetch {name}` does"
        return "not downloaded", reason
    if availability["why_not"]:
        return "too large for this machine", f"{name} {availability['why_not']}"
    if not spec.sources and getattr(import_module(f"latentlab.models.{spec.family}"), "verify", list)():
        return "damaged", f"{name}'s weights are missing or damaged: `latentlab doctor` reports the details"
    return AVAILABLE


def unavailable_reason(name: str) -> str:
    """Return the sentence of `unavailability`."""
    return unavailability(name)[1]


def runs_here(name: str) -> bool:
    return not unavailability(name)[0]


def dropdown_choices() -> list[tuple[str, str]]:
    """List the registry's models as (label, name); a label ends with why its model can't be loaded, if it can't."""
    choices = []
    for spec in models.REGISTRY.values():
        problem = unavailability(spec.name)[0]
        choices.append((f"{spec.name}: {spec.about}" + (f" ({problem})" if problem else ""), spec.name))
    return choices


def gallery(name: str) -> list[tuple[Path, str]]:
    """Return a model's sample pictures with their captions, or the embedded model's if it ships none."""
    return models.gallery(name) or models.gallery("emoji")


def validated_name(name: object) -> str:
    """Return the name if it is one of the registry.

    Raises:
        UserError: no model has that name.
    """
    if not isinstance(name, str):
        raise UserError("no model is chosen: pick one at the top of the page")
    return models.spec(name).name
