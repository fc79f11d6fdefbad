"""The components and features along which a page moves pictures: the model's own, or those of its sample pictures."""

from __future__ import annotations

import torch

from .. import models
from ..analysis import sparse_autoencoder
from ..analysis.dictionary import Dictionary
from ..analysis.pca import Directions
from ..io import images
from . import model_cache, running

FEW = {"features": 16, "active": 3, "steps": 300}  # of a dictionary of sample pictures alone


def components(model: str, lab: models.Lab) -> tuple[Directions, tuple[str, ...]]:
    """Return the model's components, or those of its few sample pictures with a note about that."""
    directions = models.directions(model)
    if directions is not None:
        return directions, ()
    z_i = _sample_z_i(model, lab)
    return Directions.fit(z_i), (_of_samples(model, "components", "pca", len(z_i)),)


def features(model: str, lab: models.Lab) -> tuple[Dictionary, tuple[str, ...]]:
    """Return the model's features, or those of its few sample pictures with a note about that."""
    fitted = models.dictionary(model)
    if fitted is not None:
        return fitted, ()
    z_i = _sample_z_i(model, lab)
    fitted = sparse_autoencoder.fit(z_i, **FEW)
    return fitted, (_of_samples(model, "features", "features", len(z_i)),)


def _sample_z_i(model: str, lab: models.Lab) -> torch.Tensor:
    pixels = torch.cat([images.load(path, lab.image_size) for path, _ in model_cache.gallery(model)])
    return running.encode_images(model, pixels)


def _of_samples(model: str, kind: str, command: str, count: int) -> str:
    return (
        f"{model} ships no {kind} yet, so these are of its {count} sample pictures only; "
        f"the command latentlab {command} fit finds those of a folder of many"
    )
