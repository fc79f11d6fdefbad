"""The lab: all networks of one model in the form that the experiments take."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import torch

    from ..clip import Encoder
    from ..diffusion import Decoder
    from ..prior import Prior
    from ..upsampling import Upsampler
    from .autoregressive_prior import AutoregressivePrior
    from .dalle import Dalle
    from .noised_clip import NoisedClip

PRIORS = ("diffusion", "autoregressive")


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
    noised_clip: NoisedClip | None = None  # None: guidance by a noised CLIP is not possible
    load_dalle: Callable[[], Dalle] | None = None  # DALL·E 1, read when it is first used; None: there is none
    load_autoregressive_prior: Callable[[], AutoregressivePrior | None] | None = None  # the same of the second prior
    load_inpainting: Callable[[], Decoder] | None = None  # the decoder fine-tuned to inpaint; None: there is none
    words: tuple[str, ...] = ()  # the written words that it was trained on; empty: no limit

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def image_size(self) -> int:
        """The side of pictures that are large enough for both the encoder and the decoder."""
        return max(self.encoder.image_size, self.decoder.image_size if self.decoder else 0)

    def as_setting(self) -> dict[str, Any]:
        """The model and its weights, with the decoder's own settings, as a result records them."""
        return {"model": self.name, "weights": self.weights, **getattr(self.decoder, "settings", {})}

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

    def clip_metadata(self) -> dict[str, str]:
        """What a file of z_i records of the CLIP that made them: model, weights, and z_i of one fixed picture."""
        from ..clip import probe

        z_i = probe(self.encoder).tolist()
        return {"model": self.name, "weights": self.weights, "probe": json.dumps([float(f"{x:.4g}") for x in z_i])}

    @property
    def autoregressive_prior(self) -> AutoregressivePrior | None:
        """The second prior, read when it is first used; None where there is none."""
        return None if self.load_autoregressive_prior is None else self.load_autoregressive_prior()

    def prior_of(self, kind: str) -> Prior | AutoregressivePrior | None:
        """One of the lab's priors, by its name in `PRIORS`.

        Raises:
            UserError: another kind, or an autoregressive prior that the lab lacks.
        """
        if kind not in PRIORS:
            raise UserError(f"prior is {kind!r}: give {' or '.join(PRIORS)}")
        if kind == "diffusion":
            return self.prior
        second = self.autoregressive_prior
        if second is None:
            raise UserError(
                f"{self.name} has no autoregressive prior: take prior='diffusion'; for the miniature `python -m "
                "latentlab.training prior --autoregressive` trains one, on the Directions of its z_i"
            )
        return second

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

    def require_dalle(self) -> Dalle:
        """DALL·E 1.

        Raises:
            UserError: the lab has none.
        """
        if self.load_dalle is None:
            raise UserError(
                "this model has no DALL·E 1: `python -m latentlab.training dvae` and then `dalle` train one for the "
                "embedded model"
            )
        return self.load_dalle()

    def require_inpainting(self) -> Decoder:
        """The decoder that was trained to inpaint: a second one, or the lab's own where that was.

        Raises:
            UserError: the lab has none.
        """
        from ..inpainting import InpaintingDecoder

        decoder = self.require_decoder()
        if isinstance(decoder, InpaintingDecoder):
            return decoder
        if self.load_inpainting is None:
            raise UserError(
                f"{self.name} has no decoder that was trained to inpaint: take decoder='plain', which paints with any "
                "model; for the miniature `python -m latentlab.training decoder --inpaint` trains one"
            )
        return self.load_inpainting()
