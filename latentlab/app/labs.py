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

DEFAULT = os.environ.get("LATENTLAB_MODEL", "emoji")
_LOADED: dict[str, models.Lab] = {}
_LOCK = threading.Lock()
FINE = "", ""


def loaded(name: str) -> models.Lab | None:
    return _LOADED.get(name)


def zero() -> bool:
    """Whether this is a Space that is lent a GPU for each run, where only what was loaded at the start is at hand."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))


def get(name: str) -> models.Lab:
    """The lab, loaded now if it is not the present one, which is then released."""
    models.spec(name)
    present = _LOADED.get(name)
    if present:  # without the lock, which a forked GPU process could find closed for ever
        return present
    with _LOCK:
        if name not in _LOADED:
            _LOADED.clear()
            gc.collect()
            _LOADED[name] = latentlab.load(name)
        return _LOADED[name]


def obtain(name: str) -> Iterator[Progress]:
    """`yield from` this: the lab, with the seconds so far where it has to be loaded first.

    Raises:
        UserError: it can't be loaded here; a visitor never makes this machine download a model.
    """
    name = models.spec(name).name
    if name not in _LOADED:
        reason = why_not(name)
        if reason:
            raise UserError(reason)
        began, pool = time.monotonic(), ThreadPoolExecutor(1)
        loading = pool.submit(get, name)
        pool.shutdown(wait=False)  # a visitor who cancels leaves it to load on
        while not wait([loading], 0.5).done:
            yield Progress(f"loading the model {name}, {time.monotonic() - began:.0f} s so far", 0, 1)
        return loading.result()
    return get(name)


def warm(lab: models.Lab) -> None:
    """Draw once before the first visitor does: what is set up at a first use is not theirs to wait for.

    Only on an embedded model, which takes a second or two for it.
    """
    if not zero() and not models.spec(lab.name).sources:
        latentlab.generate(lab, "a red apple", seeds=range(4), steps=2)


def keep(lab: models.Lab) -> None:
    """Take a lab that was loaded elsewhere as the present one."""
    _LOADED[lab.name] = lab


def obstacle(name: str) -> tuple[str, str]:
    """Why a model can't be loaded here, in two words and in a sentence; two empty texts if it can."""
    row = models.spec(name)
    if name in _LOADED:
        return FINE
    if zero():
        reason = f"this Space lends its GPU to the model that it started with; LATENTLAB_MODEL={name} starts another"
        return "not on this Space", reason
    standing = models.availability(row)
    if standing["cached"] is False:
        reason = f"{name} is not downloaded here, and a visitor can't start that: `latentlab models` says what it takes"
        return "not downloaded", reason
    if standing["why_not"]:
        return "too large for this machine", f"{name} {standing['why_not']}"
    problems = [] if row.sources else getattr(import_module(f"latentlab.models.{row.family}"), "verify", list)()
    return ("damaged", f"{name}'s weights are missing or damaged: `latentlab doctor` says more") if problems else FINE


def why_not(name: str) -> str:
    """Why a model can't be loaded here, in a sentence; empty if it can."""
    return obstacle(name)[1]


def choices() -> list[tuple[str, str]]:
    """The registry for a drop-down: (label, name), each label with what stands against loading it."""
    lines = []
    for row in models.REGISTRY.values():
        short = obstacle(row.name)[0]
        lines.append((f"{row.name}: {row.about}" + (f" ({short})" if short else ""), row.name))
    return lines


def gallery(name: str) -> list[tuple[Path, str]]:
    """A model's sample pictures with captions; the embedded model's for one that ships none."""
    return models.gallery(name) or models.gallery("emoji")


def checked(name: str | None) -> str:
    """A registry name.

    Raises:
        UserError: it is none.
    """
    if not isinstance(name, str):
        raise UserError("no model is chosen: pick one at the top of the page")
    return models.spec(name).name
