"""Any CLIP of open_clip, for experiments without a decoder: zero-shot labels, attacks, components, similarity."""

from __future__ import annotations

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
    """Whether a name is an encoder's: NAME:TAG, hf-hub:OWNER/NAME, local-dir:FOLDER, or a folder in that layout."""
    folder = Path(name).expanduser()
    return (folder / CONFIG).is_file() or (":" in name and not folder.is_dir())


def encoder(name: str, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Encoder:
    """The encoder of such a name, in float32 by default.

    Raises:
        UserError: the name has another form, there is no such model, or it can't be fetched.
    """
    import torch

    from ..clip import Encoder, local

    options = {"device": device, "dtype": dtype or torch.float32}
    if not is_encoder(name):
        raise UserError(
            f"{name!r} is no encoder: give open_clip's NAME:TAG, like ViT-B-32:laion2b_s34b_b79k, hf-hub:OWNER/NAME, "
            f"or a folder with {CONFIG}"
        )
    if (Path(name).expanduser() / CONFIG).is_file():
        return local(Path(name).expanduser(), **options)
    return Encoder(name, **options) if name.startswith(PREFIXES) else Encoder(*name.split(":", 1), **options)


def lab(name: str, *, device: torch.device, dtype: torch.dtype | None = None) -> Lab:
    """A lab of an encoder alone."""
    from .lab import Lab

    clip = encoder(name, device=device, dtype=dtype)
    folder = Path(name.removeprefix("local-dir:")).expanduser()
    name = folder.name if (folder / CONFIG).is_file() else name  # results must not carry a user's paths
    return Lab(name, clip, None, None, weights=f"{name}@{clip.fingerprint()}")
