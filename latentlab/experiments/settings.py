"""What a result remembers of its run: everything that is needed to do it again, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from .. import __version__

NOT_RECORDED = ("preview_every",)  # it changes what a run shows on the way, and not its result


@runtime_checkable
class Recorded(Protocol):
    """A value that is too large for a result's settings, and says itself what stands for it there."""

    def as_setting(self) -> Any:
        """Plain values that identify it."""


def settings_of(experiment: str, arguments: Mapping[str, Any], result: object) -> dict[str, Any]:
    """The versions of code and weights, the experiment, and its arguments.

    Pictures are left out.  The settings of an inversion, whether it was an argument or a part of the run, take the
    place of arguments of the same name: a run that begins from latents keeps their steps.

    Args:
        arguments: all arguments of the call by name; `lab` is a lab or an encoder alone.
        result: the experiment's result; an inversion is among its attributes.
    """
    from ..models.lab import Lab

    lab, *_ = arguments.values()
    about = lab.as_setting() if isinstance(lab, Lab) else {"encoder": plain(lab)}
    named = {name: plain(value) for name, value in [*arguments.items()][1:] if name not in NOT_RECORDED}
    inversion = {k: v for part in vars(result).values() for k, v in getattr(part, "settings", {}).items()}
    values = {name: value for name, value in named.items() if value is not None}
    return {"latentlab": __version__, "experiment": experiment, **about, **values, **inversion}


def plain(value: Any) -> Any:
    """The value as JSON can hold it; None for pictures, inversions and other things that it can't."""
    if isinstance(value, Recorded):
        return value.as_setting()
    if isinstance(value, Tensor | np.ndarray):
        return tuple(value.tolist()) if value.ndim == 1 else None
    if hasattr(value, "settings"):  # an inversion, whose settings are recorded beside the arguments
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, str | bool):
        return value
    if isinstance(value, Collection):
        return tuple(plain(part) for part in value)
    if isinstance(value, Path):
        return str(value)
    return int(value) if isinstance(value, Integral) else float(value) if isinstance(value, Real) else None
