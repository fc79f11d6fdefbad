"""A registry of models: one entry binds CLIP, prior, decoder and upsampler, so that by name they always fit."""

from .lab import Lab
from .loading import check, fetch, load
from .registry import REGISTRY, HubSource, ModelSpec, availability, dictionary, directions, gallery, listing, spec

__all__ = [
    "REGISTRY",
    "HubSource",
    "Lab",
    "ModelSpec",
    "availability",
    "check",
    "dictionary",
    "directions",
    "fetch",
    "gallery",
    "listing",
    "load",
    "spec",
]
