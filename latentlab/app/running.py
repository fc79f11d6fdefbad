"""Run experiments on a model by its name, on a Space's GPU if there is one, and invert each picture only once."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from .. import clip, models
from ..errors import UserError
from ..experiments import EXPERIMENTS, Experiment, InversionResult, Progress, invert
from ..slerp import normalize
from . import model_cache
from .outputs import InputImage

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Iterator[Any]])
PREVIEW_EVERY = 3  # steps between two previews
CACHE_BYTES = 64 * 2**20  # size of the cache of inversions, enough for a thousand of the miniature's
_INVERSIONS: OrderedDict[tuple[object, ...], InversionResult] = OrderedDict()
_CLASSES: dict[tuple[str, str], Tensor] = {}
CPU = torch.device("cpu")


def gpu_seconds(model: str, name: str, args: tuple[Any, ...], params: dict[str, Any]) -> int:
    """The seconds of a GPU that a run asks for, from its pictures, its steps and the model's size; at most 60."""
    experiment = EXPERIMENTS.get(name)
    if experiment is None:  # an embedding
        return 5
    steps = experiment.arguments(None, *args, **params).get("steps", 1)
    seconds_per_step = 0.01 + 0.02 * models.spec(model).parameters
    return min(60, 5 + round(seconds_per_step * experiment.count_images(None, *args, **params) * steps))


def on_gpu(function: F) -> F:
    """Return the function with a ZeroGPU's GPU for the seconds that it needs, and the function itself elsewhere."""
    if not model_cache.on_zero_gpu():
        return function
    import spaces

    return spaces.GPU(duration=gpu_seconds)(function)


def to_device(value: Any, device: torch.device) -> Any:
    """Move every tensor inside the value to the device; dataclasses, dictionaries, lists and tuples are searched."""
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
def _stream(model: str, name: str, args: tuple[Any, ...], params: dict[str, Any]) -> Iterator[object]:
    """Yield what the experiment of that name yields, and a UserError instead of raising it.

    A Space runs this in a GPU's process. So the experiment comes by its name, and every tensor leaves on the CPU.
    """
    lab = model_cache.get(model)
    experiment = EXPERIMENTS[name]
    args, params = to_device((args, params), lab.device)
    try:
        for value in experiment.stream(lab, *args, **params):
            yield to_device(value, CPU)
    except UserError as error:  # a Space would replace a raised error by one of its own
        yield error


@on_gpu
def _encode(model: str, name: str, args: tuple[Any, ...], params: dict[str, Any]) -> Iterator[Tensor]:
    """Yield what a method of the model's encoder, or a function of `clip` with it, returns, once and on the CPU."""
    encoder = model_cache.get(model).encoder
    method = getattr(encoder, name, None) or functools.partial(getattr(clip, name), encoder)
    yield method(*to_device(args, encoder.device), **params).cpu()


def run_experiment(
    model: str, experiment: Experiment[Concatenate[models.Lab, P], R], *args: P.args, **params: P.kwargs
) -> Generator[Progress, None, R]:
    """`yield from` this: the progress of loading the model and of the experiment; it returns the experiment's result.

    Args:
        args, params: the experiment's parameters after the lab.
    """
    yield from model_cache.load_with_progress(model)
    for value in _stream(model, experiment.name, args, params):
        if isinstance(value, UserError):
            raise value
        if isinstance(value, Progress):
            yield value
    assert isinstance(value, experiment.result)
    return value


def encode_images(model: str, pixels: Tensor) -> Tensor:
    """Encode pictures (B, 3, H, W) to (B, D), on the CPU."""
    return next(iter(_encode(model, "encode_image", (pixels,), {})))


def encode_captions(model: str, captions: Sequence[str]) -> Tensor:
    """Encode B captions to (B, D), on the CPU."""
    return next(iter(_encode(model, "encode_text", (captions,), {})))


def class_embeddings(lab: models.Lab) -> Tensor:
    """The embeddings of `model_cache.labels`, (L, D), computed once for these weights."""
    key = (lab.name, lab.weights)
    if key not in _CLASSES:
        _CLASSES.clear()
        _CLASSES[key] = next(iter(_encode(lab.name, "class_embeddings", (model_cache.labels(lab),), {})))
    return _CLASSES[key]


def guess_label(lab: models.Lab, image: InputImage, count: int = 8) -> tuple[tuple[str, float], ...]:
    """CLIP's labels of a picture among all of the lab's, each with its probability, best first."""
    pixels, classes = image.pixels(lab, "model"), class_embeddings(lab)
    best = next(iter(_encode(lab.name, "classify", (pixels, classes), {})))[0].topk(min(count, len(classes)))
    labels = model_cache.labels(lab)
    return tuple((labels[k], p) for p, k in zip(best.values.tolist(), best.indices.tolist()))


def top_labels(model: str, pixels: Tensor) -> list[str]:
    """CLIP's first label of each picture (B, 3, H, W) among all of the lab's."""
    lab = model_cache.get(model)
    best = next(iter(_encode(lab.name, "classify", (pixels, class_embeddings(lab)), {}))).argmax(1)
    return [model_cache.labels(lab)[k] for k in best.tolist()]


def nearest_label(lab: models.Lab, label: str) -> str:
    """The label of the lab's whose embedding is nearest to that of this one, and which is another one."""
    labels, classes = model_cache.labels(lab), class_embeddings(lab)
    z_t = classes[labels.index(label)] if label in labels else normalize(encode_captions(lab.name, [label]))[0]
    cosines = classes @ z_t
    return next(labels[k] for k in cosines.argsort(descending=True).tolist() if labels[k] != label)


def invert_images(
    model: str,
    images: Sequence[InputImage],
    *,
    fit: str = "crop",
    steps: int = 25,
    method: str = "fixed-point",
    iterations: int = 20,
) -> Generator[Progress, None, InversionResult]:
    """`yield from` this: the inversion's progress; it returns the pictures' latents, cached for all visitors.

    Args:
        fit, steps, method, iterations: as in `experiments.invert`.
    """
    lab = yield from model_cache.load_with_progress(model)
    pixels = [image.pixels(lab, fit) for image in images]
    settings = (model, lab.weights, steps, method, iterations)
    keys = [(*settings, hashlib.sha256(picture.numpy().tobytes()).hexdigest()) for picture in pixels]
    for key, image in zip(keys, images):
        latents = image.known_latents
        if latents and latents.key == (model, lab.weights, steps) and method == "fixed-point":
            _cache(key, latents.inverted)
    missing = [key for key in dict.fromkeys(keys) if key not in _INVERSIONS]
    if missing:
        batch = torch.cat([pixels[keys.index(key)] for key in missing])
        inverted = yield from run_experiment(model, invert, batch, steps=steps, method=method, iterations=iterations)
        for row, key in enumerate(missing):
            _cache(key, inverted.row(row))
    inversions = [_INVERSIONS[key] for key in keys]
    return inversions[0] if len(inversions) == 1 else InversionResult.stack(inversions)


def _cache(key: tuple[object, ...], inverted: InversionResult) -> None:
    _INVERSIONS[key] = inverted
    _INVERSIONS.move_to_end(key)
    while len(_INVERSIONS) > 1 and sum(map(_bytes, _INVERSIONS.values())) > CACHE_BYTES:
        _INVERSIONS.popitem(last=False)


def _bytes(inverted: InversionResult) -> int:
    return 2 * inverted.original.nbytes + inverted.latent.z_i.nbytes  # the latents take about what the picture takes
