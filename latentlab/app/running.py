"""Experiments, watched: by a model's name, on the GPU where a Space lends one, and nothing inverted twice."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from .. import experiments
from ..errors import UserError
from ..experiments import Inverted, Progress
from ..latents import Latent
from . import labs
from .outputs import Chosen

PREVIEW = 3  # steps between two previews
KEPT = 64 * 2**20  # bytes of inversions that are kept, a thousand of the miniature's
_FOUND: OrderedDict[tuple, Inverted] = OrderedDict()
CPU = torch.device("cpu")


def seconds(model: str, experiment: str, args: tuple, knobs: dict) -> int:
    """How long a GPU is asked for: by the pictures and steps of the run, and never long."""
    pictures = 1
    for name in ("seeds", "etas", "thetas", "dims", "components", "sigmas", "guidances", "prior_guidances", "words"):
        value = knobs.get(name, 1)
        pictures *= value if isinstance(value, int) else max(1, len(value))
    return min(60, 5 + round(0.01 * pictures * knobs.get("steps", 25)))


def on_gpu(function: Callable) -> Callable:
    """The function with a GPU of ZeroGPU's for its computed duration; the function itself anywhere else."""
    if not labs.zero():
        return function
    import spaces

    return spaces.GPU(duration=seconds)(function)


def moved(value, device: torch.device):
    """The same value with every tensor in it on the device, whatever it is made of."""
    if isinstance(value, Tensor):
        return value.to(device)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: moved(getattr(value, f.name), device) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    if isinstance(value, dict):
        return {k: moved(v, device) for k, v in value.items()}
    if isinstance(value, Progress):
        return Progress(*(moved(part, device) for part in value))
    return type(value)(moved(v, device) for v in value) if isinstance(value, list | tuple) else value


@on_gpu
def _stream(model: str, experiment: str, args: tuple, knobs: dict) -> Iterator:
    """What the experiment yields, on the CPU, so that it can leave a Space's GPU process; a refusal comes last."""
    lab = labs.get(model)
    subject = lab.encoder if experiment in ("classify", "compare") else lab
    args, knobs = moved((args, knobs), lab.device)
    try:
        for value in getattr(experiments, experiment).stream(subject, *args, **knobs):
            yield moved(value, CPU)
    except UserError as error:  # which a Space would replace by one of its own
        yield error


@on_gpu
def _embedded(model: str, experiment: str, args: tuple, knobs: dict) -> Iterator[Tensor]:
    """One embedding of everything, where the model is."""
    encoder = labs.get(model).encoder
    yield getattr(encoder, experiment)(*args).cpu()


def watched(model: str, experiment: str, *args, **knobs) -> Iterator[Progress]:
    """`yield from` this: an experiment's result, with its progress on the way."""
    for value in _stream(model, experiment, args, knobs):
        if isinstance(value, UserError):
            raise value
        if isinstance(value, Progress):
            yield value
    return value


def z_i(model: str, pixels: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) to (B, D), on the CPU."""
    return next(iter(_embedded(model, "encode_image", (pixels,), {})))


def z_t(model: str, captions: Sequence[str]) -> Tensor:
    """B captions to (B, D), on the CPU."""
    return next(iter(_embedded(model, "encode_text", (captions,), {})))


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
    while len(_FOUND) > 1 and sum(map(_bytes, _FOUND.values())) > KEPT:
        _FOUND.popitem(last=False)


def _bytes(found: Inverted) -> int:
    return 2 * found.original.nbytes + found.latent.z_i.nbytes  # the latents take about what the picture takes


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
