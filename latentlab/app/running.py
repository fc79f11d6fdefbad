"""Run experiments by a model's name, on the GPU where a Space lends one; each picture is inverted once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from .. import models
from ..errors import UserError
from ..experiments import EXPERIMENTS, Inverted, Progress
from . import model_cache
from .outputs import InputImage

PREVIEW_EVERY = 3  # steps between two previews
CACHE_BYTES = 64 * 2**20  # size of the cache of inversions, enough for a thousand of the miniature's
_INVERSIONS: OrderedDict[tuple, Inverted] = OrderedDict()
CPU = torch.device("cpu")


def gpu_seconds(model: str, experiment: str, args: tuple, params: dict) -> int:
    """Seconds of a GPU that a run asks for: they grow with its pictures, its steps and the model's size, up to 60."""
    declared = EXPERIMENTS.get(experiment)
    if declared is None:  # an embedding
        return 5
    arguments = declared.arguments(None, *args, **params)
    seconds_a_step = 0.01 + 0.02 * models.spec(model).parameters
    return min(60, 5 + round(seconds_a_step * declared.count_images(None, *args, **params) * arguments.get("steps", 1)))


def on_gpu(function: Callable) -> Callable:
    """The function with a GPU of ZeroGPU's for its computed duration; the function itself anywhere else."""
    if not model_cache.on_zero_gpu():
        return function
    import spaces

    return spaces.GPU(duration=gpu_seconds)(function)


def to_device(value, device: torch.device):
    """The same value with every tensor in it on the device, whatever it is made of."""
    if isinstance(value, Tensor):
        return value.to(device)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: to_device(getattr(value, f.name), device) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    if isinstance(value, dict):
        return {k: to_device(v, device) for k, v in value.items()}
    if isinstance(value, Progress):
        return Progress(*(to_device(part, device) for part in value))
    return type(value)(to_device(v, device) for v in value) if isinstance(value, list | tuple) else value


@on_gpu
def _stream(model: str, experiment: str, args: tuple, params: dict) -> Iterator:
    """What the experiment yields, on the CPU, so that it can leave a Space's GPU process; a refusal comes last."""
    lab = model_cache.get(model)
    declared = EXPERIMENTS[experiment]
    args, params = to_device((args, params), lab.device)
    try:
        for value in declared.stream(lab, *args, **params):
            yield to_device(value, CPU)
    except UserError as error:  # which a Space would replace by one of its own
        yield error


@on_gpu
def _encode(model: str, experiment: str, args: tuple, params: dict) -> Iterator[Tensor]:
    """One embedding of everything, where the model is."""
    encoder = model_cache.get(model).encoder
    yield getattr(encoder, experiment)(*args).cpu()


def run_experiment(model: str, experiment: str, *args, **params) -> Iterator[Progress]:
    """`yield from` this: an experiment's result, with its progress on the way."""
    for value in _stream(model, experiment, args, params):
        if isinstance(value, UserError):
            raise value
        if isinstance(value, Progress):
            yield value
    return value


def encode_images(model: str, pixels: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) to (B, D), on the CPU."""
    return next(iter(_encode(model, "encode_image", (pixels,), {})))


def encode_captions(model: str, captions: Sequence[str]) -> Tensor:
    """B captions to (B, D), on the CPU."""
    return next(iter(_encode(model, "encode_text", (captions,), {})))


def invert_images(
    model: str,
    images: Sequence[InputImage],
    *,
    fit: str = "crop",
    steps: int = 25,
    method: str = "fixed-point",
    **params,
) -> Iterator[Progress]:
    """`yield from` this: the pictures' latents, each inverted once for all pages and visitors."""
    lab = yield from model_cache.load_with_progress(model)
    rows = [c.pixels(lab, fit) for c in images]
    how = (model, lab.weights, steps, method, *sorted(params.items()))
    keys = [(*how, hashlib.sha256(row.numpy().tobytes()).hexdigest()) for row in rows]
    for key, c in zip(keys, images):
        if c.known_latents and c.known_latents.key == (model, lab.weights, steps) and method == "fixed-point":
            _cache(key, c.known_latents.inverted)
    missing = [k for k in dict.fromkeys(keys) if k not in _INVERSIONS]
    if missing:
        pixels = torch.cat([rows[keys.index(k)] for k in missing])
        inverted = yield from run_experiment(model, "invert", pixels, steps=steps, method=method, **params)
        for row, key in enumerate(missing):
            _cache(key, inverted.row(row))
    inversions = [_INVERSIONS[k] for k in keys]
    return inversions[0] if len(inversions) == 1 else Inverted.stack(inversions)


def _cache(key: tuple, inverted: Inverted) -> None:
    _INVERSIONS[key] = inverted
    _INVERSIONS.move_to_end(key)
    while len(_INVERSIONS) > 1 and sum(map(_bytes, _INVERSIONS.values())) > CACHE_BYTES:
        _INVERSIONS.popitem(last=False)


def _bytes(inverted: Inverted) -> int:
    return 2 * inverted.original.nbytes + inverted.latent.z_i.nbytes  # the latents take about what the picture takes
