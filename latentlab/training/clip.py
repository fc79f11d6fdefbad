"""The miniature CLIP: an open_clip model with its own configuration, trained on scenes and captions."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..clip import TEMPLATES
from ..models.emoji_files import weights_folder
from .curriculum import batch_for_clip
from .drawings import Sprites
from .growth import deepened
from .icon_sets import HELD_OUT_STYLES
from .loop import Part
from .rendering import Renderer
from .scene_text import labelled
from .scenes import Scene, single
from .things import sign_words, things
from .vocabulary import CONTEXT, write_tokenizer

if TYPE_CHECKING:
    from open_clip import CustomTextCLIP

MODEL = {
    "embed_dim": 256,
    "custom_text": True,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 3, 2], "width": 32, "head_width": 64},
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": 0,
        "width": 192,
        "heads": 4,
        "layers": 3,
        "hf_tokenizer_name": "emoji",
    },
}
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "shortest"}


def write_config(folder: Path, model: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write the folder that `open_clip.create_model("local-dir:…")` loads, except the weights; return the config."""
    size = write_tokenizer(folder)
    config: dict[str, Any] = copy.deepcopy(model or MODEL)
    config["text_cfg"]["vocab_size"] = size
    text = json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESS}, indent=1)
    (folder / "open_clip_config.json").write_text(text)
    labels = {"things": [t.phrases[0] for t in things()], "words": list(sign_words())}
    (folder / "labels.json").write_text(json.dumps(labels, indent=1, ensure_ascii=False))
    return config


def info_nce(z_i: Tensor, z_t: Tensor) -> Tensor:
    """The symmetric cross-entropy of pictures and their captions, z_i scaled: (B, D) each.  Radford et al. 2021."""
    logits = z_i @ z_t.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def shipped(device: torch.device) -> CustomTextCLIP:
    """The shipped CLIP, frozen, beside which another is trained."""
    from ..clip import local

    clip: CustomTextCLIP = local(weights_folder() / "clip", device=device).model
    return clip.eval().requires_grad_(False)


def classification(z_i: Tensor, scenes: Sequence[Scene], classes: Tensor) -> Tensor:
    """The cross-entropy over all things (things, D) of the scenes of single things, z_i (B, D) scaled."""
    rows = [k for k, scene in enumerate(scenes) if scene.kind == "single"]
    names = [thing.name for thing in things()]
    target = torch.tensor([names.index(scenes[k].name) for k in rows], device=z_i.device)
    return F.cross_entropy(z_i[rows] @ classes.T, target)


def class_embeddings(
    encode_text: Callable[[Tensor], Tensor],
    tokenizer: Callable[[list[str]], Tensor],
    templates: Sequence[str] = TEMPLATES,
) -> Tensor:
    """One z_t for every thing, averaged over prompt templates: (things, D), normalised."""
    z = [F.normalize(encode_text(tokenizer([t.format(x.phrases[0]) for x in things()])), dim=-1) for t in templates]
    return F.normalize(torch.stack(z).mean(0), dim=-1)


def validation_scenes(sprites: Sprites, *, style: str | None = None, per_thing: int = 2, seed: int = 0) -> list[Scene]:
    """Every thing, in combinations that training never uses, or drawn by an artist that training never uses."""
    rng, scenes = random.Random(f"validation {seed} {style is not None}"), []
    for thing in things():
        styles = sprites.styles_of(thing.name, held_out=style is not None)
        styles = [s for s in styles if style in (s, None)]
        for _ in range(per_thing if styles else 0):
            scenes.append(single(rng, sprites, thing.name, split="held-out", style=rng.choice(styles), full=True))
    return scenes


class Clip(Part["CustomTextCLIP"]):
    """InfoNCE between scenes and captions.  Radford et al. 2021, section 2.3."""

    name = "clip"
    lr = 8e-4
    weight_decay = 0.1
    batch = 192
    ema_decay = 0.995
    fall = 0.5
    preview_every = 300
    other_hues = 0.0

    def __init__(
        self, sprites: Sprites, folder: Path, device: torch.device, *, model: dict[str, Any] | None = None
    ) -> None:
        import open_clip

        self.folder = folder
        config = write_config(folder / "export", model)
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder / 'export'}")
        torch.manual_seed(0)
        config["text_cfg"]["hf_tokenizer_name"] = None
        config.pop("custom_text")
        self.network = open_clip.CustomTextCLIP(**config)
        self.network.visual.to(memory_format=torch.channels_last)  # a convolution's step is twice as fast on a CPU
        self.render = Renderer(sprites, device, other_hues=self.other_hues)
        self.sprites, self.device = sprites, device

    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        return deepened(state, self.network)

    def loss(self, step: int) -> Tensor:
        scenes = batch_for_clip(step, self.sprites, self.batch)
        images = self.render(scenes, 64, vary=torch.Generator().manual_seed(step))
        images = images.contiguous(memory_format=torch.channels_last)
        text = self.tokenizer([s.caption for s in scenes]).to(self.device)
        z_i, z_t, scale = self.network(images, text)
        return info_nce(scale.clamp(max=100) * z_i.float(), z_t.float())

    def measure(self, network: CustomTextCLIP) -> dict[str, float]:
        classes = class_embeddings(lambda t: network.encode_text(t.to(self.device)), self.tokenizer)
        names = [t.name for t in things()]
        measured = {}
        first_edition = self.sprites.first_edition()
        worlds = [("first_edition", first_edition, None), ("seen", self.sprites, None)]
        for label, sprites, style in worlds + [(style, self.sprites, style) for style in HELD_OUT_STYLES]:
            scenes = validation_scenes(sprites, style=style)
            logits = F.normalize(network.encode_image(self.render(scenes, 64)), dim=-1) @ classes.T
            target = torch.tensor([names.index(s.name) for s in scenes], device=self.device)
            ranks = (logits > logits.gather(1, target[:, None])).sum(1)
            measured[f"top1_{label}"] = (ranks == 0).float().mean().item()
            measured[f"top5_{label}"] = (ranks < 5).float().mean().item()
        scenes = [s for k in range(4) for s in batch_for_clip(10**9 + k, self.sprites, 64)]
        z_i = F.normalize(network.encode_image(self.render(scenes, 64)), dim=-1)
        z_t = F.normalize(network.encode_text(self.tokenizer([s.caption for s in scenes]).to(self.device)), dim=-1)
        hit = (z_i @ z_t.T).argmax(1) == torch.arange(len(scenes), device=self.device)
        return {**measured, "recall1_of_256": hit.float().mean().item(), "attacked": self._attacked(network, classes)}

    def _attacked(self, network: CustomTextCLIP, classes: Tensor) -> float:
        """The share of labelled things whose word scores higher than the thing's own name."""
        rng = random.Random("attack while training")
        scenes = [labelled(rng, self.sprites.first_edition(), t.name) for t in things()]
        z_i = F.normalize(network.encode_image(self.render(scenes, 64)), dim=-1)
        words = self.tokenizer([f"a {s.facts['word']}" for s in scenes]).to(self.device)
        own = (z_i * classes).sum(1)
        return ((z_i * F.normalize(network.encode_text(words), dim=-1)).sum(1) > own).float().mean().item()

    def preview(self, network: CustomTextCLIP) -> Image.Image:
        from torchvision.utils import make_grid

        unseen = [validation_scenes(self.sprites, style=style, per_thing=1) for style in HELD_OUT_STYLES]
        scenes = [scene for scenes in unseen for scene in scenes[::4]]
        images = self.render(scenes, 64)
        classes = class_embeddings(lambda t: network.encode_text(t.to(self.device)), self.tokenizer)
        best = (F.normalize(network.encode_image(images), dim=-1) @ classes.T).argmax(1).tolist()
        right = torch.tensor([things()[b].name == s.thing for b, s in zip(best, scenes)])
        images[~right.to(self.device), 0, :4] = 1.0  # a red bar marks a mistake
        images[~right.to(self.device), 1:, :4] = -1.0
        return Image.fromarray(((make_grid(images, 8) + 1) * 127.5).byte().permute(1, 2, 0).cpu().numpy())

    def export(self, network: CustomTextCLIP, folder: Path) -> None:
        from safetensors.torch import save_file

        state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
        save_file({k: v.contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors")
