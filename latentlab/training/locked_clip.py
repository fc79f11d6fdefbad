"""CLIP's text tower trained on alone, while the image tower and all that works on z_i stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..clip import TEMPLATES
from ..models.emoji import text_states
from .clip import Clip, class_embeddings, classification, info_nce, shipped
from .curriculum import batch_for_clip
from .drawings import Sprites
from .scenes import Scene

if TYPE_CHECKING:
    from open_clip import CustomTextCLIP

# As `curriculum.TRAINED`, with labelled things and more scenes of several things.
MIX = dict(single=0.50, twice=0.58, pair=0.66, solids=0.76, sign=0.82, shop=0.88, labelled=0.95, several=1.0)


class LockedClip(Clip):
    """InfoNCE and the cross-entropy over all things, with z_i of a locked image tower.  Zhai et al. 2022 (LiT).

    L = InfoNCE + `share` · CE(z_i, things) + `keep` · |h - h of the shipped CLIP|²
    The states h of the caption's tokens, which prior and decoder read, stay near to what they were. Labelled things are
    among the scenes if their captions say so: the text tower learns what such captions look like, and the image tower
    can't learn that a word on a thing does not name it.
    """

    lr = 4e-4
    fall = 0.6
    share = 0.5
    keep = 1.0
    preview_every = 240

    def __init__(self, sprites: Sprites, folder: Path, device: torch.device) -> None:
        super().__init__(sprites, folder, device)
        self.shipped = shipped(device)
        self.network.load_state_dict(self.shipped.state_dict())
        self.network.visual.requires_grad_(False)

    def loss(self, step: int) -> Tensor:
        scenes = self._scenes(step)
        text = self.tokenizer([s.caption for s in scenes]).to(self.device)
        with torch.no_grad():
            images = self.render(scenes, 64, vary=torch.Generator().manual_seed(step) if step % 2 else None)
            z_i = self.shipped.encode_image(images.contiguous(memory_format=torch.channels_last)).float()
            z_i = self.shipped.logit_scale.exp().clamp(max=100) * F.normalize(z_i, dim=-1)
            _, wanted = _encoded(self.shipped, text)
        z_t, states = _encoded(self.network, text)
        kept = (states - wanted).square()[text != 0].mean()
        return info_nce(z_i, z_t) + self.share * classification(z_i, scenes, self._classes(step)) + self.keep * kept

    def _classes(self, step: int) -> Tensor:
        """z_t of all things, named by one of the templates."""
        template = TEMPLATES[step % len(TEMPLATES)]
        return class_embeddings(
            self.network.encode_text, lambda c: self.tokenizer(c).to(self.device), (template,)
        ).float()

    def _scenes(self, step: int) -> list[Scene]:
        scenes = batch_for_clip(step, self.sprites, self.batch, MIX)
        return [s for s in scenes if s.kind != "labelled" or s.facts["word"] in s.caption]


def _encoded(clip: CustomTextCLIP, text: Tensor) -> tuple[Tensor, Tensor]:
    """z_t, normalised, and the states of all tokens: (B, D), (B, L, W)."""
    z_t, states = text_states(clip, text)
    return F.normalize(z_t.float(), dim=-1), states.float()
