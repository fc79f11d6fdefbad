"""CLIP trained on in the space of a CLIP that exists, so that prior, decoder and directions stay valid."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .clip import Clip, class_embeddings, classification, info_nce, shipped
from .curriculum import batch_for_clip
from .drawings import Sprites
from .growth import deepened
from .icon_sets import FIRST_EDITION
from .scenes import Layer, Scene

# As `curriculum.TRAINED`, with more scenes of single things.
MIX = {"single": 0.68, "twice": 0.72, "pair": 0.78, "solids": 0.84, "sign": 0.87, "shop": 0.97, "several": 1.0}


def redrawn(rng: random.Random, sprites: Sprites, scene: Scene) -> Scene:
    """The same scene, whose drawings by later artists are replaced by drawings of the first edition's artists."""
    keys: dict[str, str] = {}

    def first_edition(layer: Layer) -> Layer:
        style, thing = layer.key.split("/")[:2]
        if style in (*FIRST_EDITION, "solid", "sign", "label"):
            return layer
        drawings = [key for s in FIRST_EDITION for key in sprites.drawings_of(s, thing)]
        return replace(layer, key=keys.setdefault(layer.key, rng.choice(drawings)), ink=None, fill=None)

    return replace(scene, layers=tuple(first_edition(layer) for layer in scene.layers))


class AnchoredClip(Clip):
    """InfoNCE, the cross-entropy over all things and the distance to a teacher's z_i, with the teacher's text tower.

    The teacher is the shipped CLIP. It sees each scene as an artist of the first edition would have drawn it: without
    restyling, and in colour where a later artist drew it. The image tower learns to give the picture that it sees the
    same z_i:
    L = InfoNCE + CE(z_i, things) + `anchor` · (1 - cos(z_i, z_i of the teacher)).
    The second term is for single things alone, and scenes with signs have no third term, because the teacher does not
    read well.
    """

    lr = 2e-3
    fall = 0.6
    anchor = 6.0
    other_hues = 0.3  # the teacher sees the same hue, so that z_i still tells it
    preview_every = 480

    def __init__(self, sprites: Sprites, folder: Path, device: torch.device) -> None:
        super().__init__(sprites, folder, device)
        self.teacher = shipped(device)
        self.network.load_state_dict(deepened(self.teacher.state_dict(), self.network))
        self.network.text.requires_grad_(False)
        with torch.no_grad():
            self.classes = class_embeddings(self.teacher.encode_text, lambda c: self.tokenizer(c).to(device))

    def loss(self, step: int) -> Tensor:
        scenes = batch_for_clip(step, self.sprites, self.batch, MIX)
        images = self.render(scenes, 64, vary=torch.Generator().manual_seed(step))
        images = images.contiguous(memory_format=torch.channels_last)
        text = self.tokenizer([s.caption for s in scenes]).to(self.device)
        z_i = F.normalize(self.network.encode_image(images).float(), dim=-1)
        with torch.no_grad():
            z_t = F.normalize(self.teacher.encode_text(text).float(), dim=-1)
        scaled = self.network.logit_scale.exp().clamp(max=100) * z_i
        matched = info_nce(scaled, z_t) + classification(scaled, scenes, self.classes)
        return matched + self.anchor * self._distance(z_i, scenes, step)

    def _distance(self, z_i: Tensor, scenes: list[Scene], step: int) -> Tensor:
        """The mean of 1 - cos(z_i, z_i of the teacher) over the scenes without signs."""
        rng = random.Random(step)
        rows = [k for k, scene in enumerate(scenes) if scene.kind != "sign"]
        redrawn_scenes = [redrawn(rng, self.sprites, scene) for scene in scenes]
        generator = torch.Generator().manual_seed(step)
        images = self.render(redrawn_scenes, 64, vary=generator, restyle=False)[rows]
        with torch.no_grad():
            wanted = self.teacher.encode_image(images.contiguous(memory_format=torch.channels_last)).float()
        return 1 - F.cosine_similarity(z_i[rows], wanted, dim=-1).mean()
