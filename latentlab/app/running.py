"""Run experiments by a model's name, on the GPU where a Space lends one; each picture is inverted once."""

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
from . import model_cache
from .outputs import InputImage

PREVIEW_EVERY = 3  # steps between two previews
CACHE_BYTES = 64 * 2**20  # size of the cache of inversions, enough for a thousand of the miniature's
_INVERSIONS: OrderedDict[tuple, Inverted] = OrderedDict()
CPU = torch.device("cpu")


def gpu_seconds(model: str, experiment: str, args: tuple, params: dict) -> int:
    """Seconds of a GPU that a run asks for: they grow with its pictures and steps, up to 60."""
    pictures = 1
    for name in ("seeds", "etas", "thetas", "dims", "components", "sigmas", "guidances", "prior_guidances", "words"):
        value = params.get(name, 1)
        pictures *= value if isinstance(value, int) else max(1, len(value))
    return min(60, 5 + round(0.01 * pictures * params.get("steps", 25)))


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
    subject = lab.encoder if experiment in ("classify", "compare") else lab
    args, params = to_device((args, params), lab.device)
    try:
        for value in getattr(experiments, experiment).stream(subject, *args, **params):
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
    return _stacked([_INVERSIONS[k] for k in keys])


def _cache(key: tuple, inverted: Inverted) -> None:
    _INVERSIONS[key] = inverted
    _INVERSIONS.move_to_end(key)
    while len(_INVERSIONS) > 1 and sum(map(_bytes, _INVERSIONS.values())) > CACHE_BYTES:
        _INVERSIONS.popitem(last=False)


def _bytes(inverted: Inverted) -> int:
    return 2 * inverted.original.nbytes + inverted.latent.z_i.nbytes  # the latents take about what the picture takes


def _stacked(inverted: Sequence[Inverted]) -> Inverted:
    """Several inverted pictures as one batch."""
    if len(inverted) == 1:
        return inverted[0]
    first = inverted[0]
    return Inverted(
        torch.cat([f.original for f in inverted]),
        Latent.stack(f.latent for f in inverted),
        torch.stack([f.residual for f in inverted]).max(0).values,
        torch.cat([f.converged for f in inverted]),
        max(f.evaluations for f in inverted),
        first.steps,
        first.method,
    )
