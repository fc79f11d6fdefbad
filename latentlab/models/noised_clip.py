"""A CLIP that was trained on noised pictures and is told how noisy they are, for guidance (GLIDE, section 2.4)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..io.atomic import atomic_write, open_tensors

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

    from ..clip import Encoder

FILE = "noised_clip.safetensors"
TIME_WIDTH = 128


class TimedTower(nn.Module):
    """CLIP's image tower with an embedding of the time, which is added after the stem and after each stage.

    The embedding starts at zero, so that an untrained tower is CLIP's own.

    Args:
        visual: open_clip's ModifiedResNet.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual: Any = visual
        tower: Any = visual
        stages = [tower.layer1, tower.layer2, tower.layer3, tower.layer4]
        widths = [tower.conv3.out_channels, *(stage[-1].bn3.num_features for stage in stages)]
        self.time = nn.Sequential(nn.Linear(TIME_WIDTH, TIME_WIDTH), nn.SiLU())
        self.shifts = nn.ModuleList(nn.Linear(TIME_WIDTH, width) for width in widths)
        for shift in self.shifts:
            nn.init.zeros_(shift.weight)  # type: ignore[arg-type]
            nn.init.zeros_(shift.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor, t: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in CLIP's own normalisation and times (B,) to z_i (B, D)."""
        from diffusers.models.embeddings import get_timestep_embedding

        time = self.time(get_timestep_embedding(t, TIME_WIDTH).to(pixels.dtype))
        stages = (self.visual.stem, self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4)
        x = pixels
        for stage, shift in zip(stages, self.shifts):
            x = stage(x) + shift(time)[:, :, None, None]
        return self.visual.attnpool(x)


class NoisedClip:
    """The noised CLIP of a lab: x_t -> z_i, where x_t is seen through the decoder's first stage.

    Args:
        network: the tower.
        encoder: the CLIP whose tower it was, which keeps the text side.
        autoencoder: the first stage; None where the decoder's states are pixels.
    """

    def __init__(self, network: TimedTower, encoder: Encoder, autoencoder: AutoencoderDC | None) -> None:
        self.network, self.encoder, self.autoencoder = network, encoder, autoencoder

    @staticmethod
    def untrained(encoder: Encoder, autoencoder: AutoencoderDC | None) -> NoisedClip:
        """The encoder's own tower, which ignores the time."""
        visual = copy.deepcopy(encoder.model.visual)
        return NoisedClip(TimedTower(visual).to(encoder.device).eval(), encoder, autoencoder)

    @property
    def scale(self) -> float:
        """The learned factor on cosines, CLIP's own."""
        return self.encoder.scale

    def encode_noised(self, x_t: Tensor, t: int | Tensor) -> Tensor:
        """States (B, C, H, W) at one time, or at times (B,), to z_i (B, D)."""
        times = torch.as_tensor(t, device=x_t.device).expand(len(x_t))
        pixels = x_t
        if self.autoencoder is not None:  # without the clamp of pictures, which would hide the noise
            pixels = self.autoencoder.decode(x_t / self.autoencoder.config["scaling_factor"]).sample
        if pixels.shape[-1] != self.encoder.image_size:
            side = (self.encoder.image_size, self.encoder.image_size)
            pixels = F.interpolate(pixels.float(), side, mode="bicubic", antialias=True)
        return self.network(((pixels + 1) / 2 - self.encoder.mean) / self.encoder.std, times)

    def save(self, folder: Path) -> None:
        """Write the tower in half precision, with the fingerprint of its CLIP."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.half() if v.is_floating_point() else v for k, v in self.network.state_dict().items()}
        with atomic_write(folder / FILE) as part:
            save_file({k: v.contiguous() for k, v in state.items()}, part, {"clip": self.encoder.fingerprint()})

    @staticmethod
    def load(folder: Path, encoder: Encoder, autoencoder: AutoencoderDC | None) -> NoisedClip | None:
        """The noised CLIP in a folder; None where there is none, or one of another CLIP.

        Raises:
            UserError: the file is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        with open_tensors(
            path, kind="noised CLIP", hint="`python -m latentlab.training noised-clip` makes one"
        ) as file:
            if (file.metadata() or {}).get("clip") != encoder.fingerprint():
                return None
        noised = NoisedClip.untrained(encoder, autoencoder)
        state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
        noised.network.load_state_dict(state)
        noised.network.requires_grad_(False)
        return noised
