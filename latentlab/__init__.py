"""Walk through CLIP's latent space with an unCLIP pipeline.

    caption -> z_t -> prior -> z_i -+
    image   -> z_i -----------------+-> (z_i, x_T) -> decode -> upsample -> image
    image   -> invert, given z_i -> x_T

Names are imported when they are first used, so `import latentlab` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# In the order of the flow: name -> the module that has it.
_PUBLIC = {
    "load": "models", "Lab": "models",
    "Encoder": "encoding",
    "Latent": "latents", "PairLatent": "latents",
    "Condition": "diffusion", "ddim_step": "diffusion", "noise": "diffusion",
    "invert": "inversion", "Inversion": "inversion",
    "decode": "decoding",
    "upsample": "upsampling",
    "slerp": "sphere",
    "interpolate": "manipulation", "text_diff": "manipulation",
    "Directions": "directions",
    "generate": "experiments", "reconstruct": "experiments",
    "UserError": "errors",
}  # fmt: skip
_MODULES = {
    "images", "encoding", "prior", "latents", "embeddings", "diffusion", "reversible", "inversion", "decoding",
    "upsampling", "sphere", "manipulation", "moments", "directions", "attacks", "grammar", "intervals", "distances",
    "experiments", "figures", "models", "samples", "index", "paper", "exercises", "errors",
}  # fmt: skip
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from .decoding import decode
    from .diffusion import Condition, ddim_step, noise
    from .directions import Directions
    from .encoding import Encoder
    from .errors import UserError
    from .experiments import generate, reconstruct
    from .inversion import Inversion, invert
    from .latents import Latent, PairLatent
    from .manipulation import interpolate, text_diff
    from .models import Lab, load
    from .sphere import slerp
    from .upsampling import upsample


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module 'latentlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, *_MODULES})
