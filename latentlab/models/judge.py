"""The judge: a small ResNet that names the thing in a picture, used only to score.

The decoder learns from CLIP's z_i, so CLIP recognises the decoder's pictures more often than it should, and its own
drawings nearly always.  The judge shares nothing with CLIP: it has another architecture (He et al. 2016), seed, loss
and augmentation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from .emoji_files import weights_folder

if TYPE_CHECKING:
    from .lab import Lab

SIZE: dict[str, Any] = {"layers": (2, 2, 2, 2), "channels": (32, 64, 128, 256), "stem_width": 32}


def build(classes: int) -> nn.Module:
    """timm's ResNet for pictures of 64 pixels, with stages of 16x16 to 2x2 and 2.9 M parameters.

    With batch normalisation it learns in hundreds of steps; 660 steps of a ConvNeXt of the same size brought the loss
    from 5.3 to 5.1 only.
    """
    from timm.models.resnet import BasicBlock, ResNet

    # timm annotates the class of the blocks as an instance.
    network: nn.Module = ResNet(BasicBlock, num_classes=classes, **SIZE)  # type: ignore[arg-type]
    return network


class Judge:
    """A classifier of things, with which no other part of the miniature was trained.

    Args:
        network: a classifier of (B, 3, 64, 64) in [-1, 1].
        names: the names of its classes, from things.txt.
        captions: what the classes are called in prompts, like "a dog" for dog-face; by default their names.
    """

    def __init__(
        self, network: nn.Module, names: list[str], device: torch.device | str = "cpu", captions: Sequence[str] = ()
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.names, self.device = names, torch.device(device)
        self.captions = [_without_article(caption) for caption in captions or names]

    @classmethod
    def load(
        cls, folder: Path | None = None, device: torch.device | str = "cpu", captions: Sequence[str] = ()
    ) -> Judge:
        """The shipped judge, or one that `python -m latentlab.training judge` exported.

        Args:
            captions: of its things, as in `Judge`; of others they are not used.

        Raises:
            UserError: the folder has no judge.
        """
        from safetensors.torch import load_file

        folder = folder or weights_folder() / "judge"
        if not (folder / "judge.safetensors").is_file():
            raise UserError(f"no judge in {folder}: run `python -m latentlab.training judge`, then `ship`")
        names = json.loads((folder / "config.json").read_text("utf-8"))["things"]
        network = build(len(names))
        network.load_state_dict({k: v.float() for k, v in load_file(folder / "judge.safetensors").items()})
        return cls(network, names, device, captions if len(captions) == len(names) else ())

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Logits (B, things) of pictures (B, 3, H, W) in [-1, 1], which are resized to 64 pixels."""
        pictures = pictures.to(self.device)
        if pictures.shape[-1] != 64:
            pictures = F.interpolate(pictures, (64, 64), mode="bicubic", antialias=True).clamp(-1, 1)
        return torch.cat([self.network(part) for part in pictures.split(128)])

    def ranks(self, pictures: Tensor, wanted: list[str]) -> Tensor:
        """The number of other things that do not score lower than the wanted one: (B,); 0 is right, NaN comes last."""
        target = torch.tensor([self.names.index(name) for name in wanted], device=self.device)
        scores = self(pictures)
        return (~(scores < scores.gather(1, target[:, None]))).sum(1) - 1

    def zero_shot(self, pixels: Tensor, labels: Sequence[str], templates: Sequence[str] = ()) -> Tensor:
        """Probabilities among captions like "a dog", as `clip.Encoder.zero_shot`: (B, labels); 0 of unknown things."""
        wanted = [_without_article(label) for label in labels]
        logits = self(pixels)
        unknown = logits.new_full((len(logits), 1), -torch.inf)
        columns = [logits[:, [self.captions.index(w)]] if w in self.captions else unknown for w in wanted]
        return torch.cat(columns, 1).softmax(1).nan_to_num(0)


def judge_of(lab: Lab) -> Judge | None:
    """The judge that comes with a lab, or None: the embedded model alone has one."""
    own = lab.name == "emoji" and (weights_folder() / "judge" / "judge.safetensors").is_file()
    return Judge.load(device=lab.device, captions=lab.things) if own else None


def _without_article(caption: str) -> str:
    return caption.removeprefix("a ").removeprefix("an ")
