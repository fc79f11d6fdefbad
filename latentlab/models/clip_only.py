"""Any CLIP of open_clip, for what needs no decoder: zero-shot labels, attacks, components, similarity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch

    from ..clip import Encoder
    from . import Lab

PREFIXES = ("local-dir:", "hf-hub:")
CONFIG = "open_clip_config.json"


class NoDecoder:
    """Stands where a lab of a CLIP alone has its decoder: whatever it is asked for, it says that there is none."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str):
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        raise UserError(
            f"{self._name} is a CLIP alone, without a decoder: it can classify, compare, attack, embed and fit "
            "components; for this, load one of `latentlab models`"
        )


def named(name: str) -> bool:
    """Whether a name is an encoder's: NAME:TAG, hf-hub:OWNER/NAME, local-dir:FOLDER, or a folder in that layout."""
    folder = Path(name).expanduser()
    return (folder / CONFIG).is_file() or (":" in name and not folder.is_dir())


def encoder(name: str, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Encoder:
    """The encoder of such a name, in float32 unless asked otherwise.

    Raises:
        UserError: it is no such name, there is no such model, or it can't be had.
    """
    import torch

    from ..clip import Encoder, local

    options = {"device": device, "dtype": dtype or torch.float32}
    if not named(name):
        raise UserError(
            f"{name!r} is no encoder: give open_clip's NAME:TAG, like ViT-B-32:laion2b_s34b_b79k, hf-hub:OWNER/NAME, "
            f"or a folder with {CONFIG}"
        )
    if (Path(name).expanduser() / CONFIG).is_file():
        return local(Path(name).expanduser(), **options)
    return Encoder(name, **options) if name.startswith(PREFIXES) else Encoder(*name.split(":", 1), **options)


def lab(name: str, *, device: torch.device, dtype: torch.dtype | None = None) -> Lab:
    """A lab of an encoder alone."""
    from . import Lab

    found = encoder(name, device=device, dtype=dtype)
    folder = Path(name.removeprefix("local-dir:")).expanduser()
    name = folder.name if (folder / CONFIG).is_file() else name  # results need not carry a user's paths
    return Lab(name, found, None, NoDecoder(name), weights=f"{name}@{found.fingerprint()}")
