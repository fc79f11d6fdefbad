"""The models of this server: one is loaded at a time, when somebody first runs it."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import latentlab
from latentlab import models
from latentlab.errors import UserError
from latentlab.experiments import Progress

DEFAULT = os.environ.get("LATENTLAB_MODEL", "emoji")
_LOADED: dict[str, models.Lab] = {}
_LOCK = threading.Lock()


def loaded(name: str) -> models.Lab | None:
    return _LOADED.get(name)


def get(name: str) -> models.Lab:
    """The lab, loaded now if it is not the present one, which is then released."""
    models.row(name)
    with _LOCK:
        if name not in _LOADED:
            _LOADED.clear()
            gc.collect()
            _LOADED[name] = latentlab.load(name)
        return _LOADED[name]


def obtain(name: str) -> Iterator[Progress]:
    """`yield from` this: the lab, with a word on the wait where it has to be loaded first."""
    if models.row(name).name not in _LOADED:
        yield Progress(f"loading the model {name}", 0, 1)
    return get(name)


def keep(lab: models.Lab) -> None:
    """Take a lab that was loaded elsewhere as the present one."""
    _LOADED[lab.name] = lab


def why_not(name: str) -> str:
    """Why a model can't be loaded here, in a sentence; empty if it can."""
    row = models.row(name)
    try:
        family = import_module(f"latentlab.models.{row.family}")
    except ImportError as error:
        return f"{name} wants {error.name}, which is not installed"
    problems = family.verify() if hasattr(family, "verify") else []
    return f"{name}'s weights are missing or damaged; `latentlab doctor` says more" if problems else ""


def choices() -> list[tuple[str, str]]:
    """The registry for a drop-down: (label, name)."""
    return [
        (f"{row.name}: {row.about}" + (" (can't be loaded here)" if why_not(row.name) else ""), row.name)
        for row in models.ROWS.values()
    ]


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
    return models.row(name).name
