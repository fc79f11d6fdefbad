"""Explore CLIP's latent space with an unCLIP pipeline.

    caption -> z_t -> prior -> z_i -+
    image   -> z_i -----------------+-> (z_i, x_T) -> decode -> upsample -> image
    image   -> invert, given z_i -> x_T

`load` gives a `Lab`, and each experiment is a function that takes it: `generate(lab, "a red apple")`.  The theory
lives in the modules: `diffusion`, `inversion`, `decoding`, `prior`, `latents`, `slerp`, `edits`, `clip`.

Names are imported when they are first used, so `import latentlab` costs nothing.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # __init__.pyi lists the names
