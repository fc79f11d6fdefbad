"""The lab: all networks of one model in the form that the experiments take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch

    from ..clip import Encoder
    from ..diffusion import Decoder
    from ..prior import Prior
    from ..upsampling import Upsampler


@dataclass(frozen=True)
class Lab:
    """A complete unCLIP pipeline, or a CLIP alone; functions use the part that they need."""

    name: str
    encoder: Encoder
    prior: Prior | None  # None: only pictures give z_i
    decoder: Decoder | None  # None: the lab is a CLIP alone
    upsampler: Upsampler | None = None
    weights: str = ""  # identifies these weights among others of the same name
    things: tuple[str, ...] = ()  # captions of the things that the model was trained to draw; empty: no limit
    words: tuple[str, ...] = ()  # the written words that it was trained on; empty: no limit

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def image_size(self) -> int:
        """The side of pictures that are large enough for both the encoder and the decoder."""
        return max(self.encoder.image_size, self.decoder.image_size if self.decoder else 0)

    @property
    def output_size(self) -> int:
        """The side of the pictures that come out: the upsampler's, the decoder's, or 0 of a CLIP alone."""
        if self.upsampler is not None:
            return self.upsampler.high
        return self.decoder.image_size if self.decoder else 0

    @property
    def has_decoder(self) -> bool:
        """Whether the lab can draw."""
        return self.decoder is not None

    def require_decoder(self) -> Decoder:
        """The decoder.

        Raises:
            UserError: the lab is a CLIP alone.
        """
        if self.decoder is None:
            raise UserError(
                f"{self.name} is a CLIP alone, without a decoder: it can classify, compare, attack, embed and fit "
                "components; for this, load one of `latentlab models`"
            )
        return self.decoder
