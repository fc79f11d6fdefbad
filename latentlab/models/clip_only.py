"""Any CLIP of open_clip, for the experiments that need no decoder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch

    from ..clip import Encoder
    from .lab import Lab

PREFIXES = ("local-dir:", "hf-hub:")
CONFIG = "open_clip_config.json"


def is_encoder(name: str) -> bool:
    """Whether a name is that of an encoder: NAME:TAG, hf-hub:OWNER/NAME, local-dir:FOLDER or a folder of that kind."""
    return _has_config(name) or (":" in name and not os.path.isdir(os.path.expanduser(name)))


def _has_config(folder: str) -> bool:
    """Whether this is a folder with CONFIG; pathlib raises an OSError where a name is too long for a file."""
    return os.path.isfile(os.path.join(os.path.expanduser(folder), CONFIG))


def encoder(name: str, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Encoder:
    """The encoder that a name refers to (`is_encoder`), in float32 by default.

    Raises:
        UserError: the name has another form, there is no such model, or it can't be fetched.
    """
    import torch

    from ..clip import Encoder, local

    dtype = dtype or torch.float32
    if not is_encoder(name):
        raise UserError(
            f"{name!r} is no encoder: give open_clip's NAME:TAG, like ViT-B-32:laion2b_s34b_b79k, hf-hub:OWNER/NAME, "
            f"or a folder with {CONFIG}"
        )
    if _has_config(name):
        return local(Path(name).expanduser(), device=device, dtype=dtype)
    architecture, tag = (name, None) if name.startswith(PREFIXES) else name.split(":", 1)
    return Encoder(architecture, tag, device=device, dtype=dtype)


def lab(name: str, *, device: torch.device, dtype: torch.dtype | None = None) -> Lab:
    """A lab that has an encoder and nothing else."""
    from .lab import Lab

    clip = encoder(name, device=device, dtype=dtype)
    folder = name.removeprefix("local-dir:")
    name = Path(folder).expanduser().name if _has_config(folder) else name  # results must not carry a user's paths
    return Lab(name, clip, None, None, weights=f"{name}@{clip.fingerprint()}")
