"""Experiments, watched: by a model's name, on the GPU where a Space lends one, and nothing inverted twice."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch

from latentlab import experiments
from latentlab.experiments import Inverted, Progress
from latentlab.latents import Latent

from . import labs
from .shots import Chosen

PREVIEW = 3  # steps between two previews
_FOUND: OrderedDict[tuple, Inverted] = OrderedDict()
_MOST = 256  # inversions that are kept, some 10 kB each


def seconds(model: str, experiment: str, args: tuple, knobs: dict) -> int:
    """How long a GPU is asked for: by the pictures and steps of the run, and never long."""
    pictures = 1
    for name in ("seeds", "etas", "thetas", "dims", "components", "sigmas", "guidances", "prior_guidances", "words"):
        value = knobs.get(name, 1)
        pictures *= value if isinstance(value, int) else max(1, len(value))
    return min(60, 5 + round(0.01 * pictures * knobs.get("steps", 25)))


def on_gpu(function: Callable) -> Callable:
    """The function with a GPU of ZeroGPU's for its computed duration; the function itself anywhere else."""
    if not os.environ.get("SPACES_ZERO_GPU"):
        return function
    import spaces

    return spaces.GPU(duration=seconds)(function)


def _on_cpu(value):
    """What can travel from a Space's GPU process to this one: every tensor in it on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _on_cpu(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    if isinstance(value, Progress):
        return Progress(*(_on_cpu(part) for part in value))
    if isinstance(value, dict):
        return {k: _on_cpu(v) for k, v in value.items()}
    return value


@on_gpu
def _stream(model: str, experiment: str, args: tuple, knobs: dict) -> Iterator:
    lab = labs.get(model)
    subject = lab.encoder if experiment in ("classify", "compare") else lab
    for value in getattr(experiments, experiment).stream(subject, *args, **knobs):
        yield value if lab.device.type == "cpu" else _on_cpu(value)


def watched(model: str, experiment: str, *args, **knobs) -> Iterator[Progress]:
    """`yield from` this: an experiment's result, with its progress on the way."""
    for value in _stream(model, experiment, args, knobs):
        if isinstance(value, Progress):
            yield value
    return value


def inverted(
    model: str, chosen: Sequence[Chosen], *, fit: str = "crop", steps: int = 25, method: str = "fixed-point", **knobs
) -> Iterator[Progress]:
    """`yield from` this: the pictures' latents, each found once for all pages and visitors."""
    lab = yield from labs.obtain(model)
    rows = [c.pixels(lab, fit) for c in chosen]
    how = (model, lab.weights, steps, method, *sorted(knobs.items()))
    keys = [(*how, hashlib.sha256(row.numpy().tobytes()).hexdigest()) for row in rows]
    for key, c in zip(keys, chosen):
        if c.known and c.known.key == (model, lab.weights, steps) and method == "fixed-point":
            _keep(key, c.known.inverted)
    missing = [k for k in dict.fromkeys(keys) if k not in _FOUND]
    if missing:
        pixels = torch.cat([rows[keys.index(k)] for k in missing])
        found = yield from watched(model, "invert", pixels, steps=steps, method=method, **knobs)
        for row, key in enumerate(missing):
            _keep(key, found.row(row))
    return _stacked([_FOUND[k] for k in keys])


def _keep(key: tuple, found: Inverted) -> None:
    _FOUND[key] = found
    _FOUND.move_to_end(key)
    while len(_FOUND) > _MOST:
        _FOUND.popitem(last=False)


def _stacked(found: Sequence[Inverted]) -> Inverted:
    """Several inverted pictures as one batch."""
    if len(found) == 1:
        return found[0]
    first = found[0]
    return Inverted(
        torch.cat([f.original for f in found]),
        Latent.stack(f.latent for f in found),
        torch.stack([f.residual for f in found]).max(0).values,
        torch.cat([f.converged for f in found]),
        max(f.evaluations for f in found),
        first.steps,
        first.method,
    )
