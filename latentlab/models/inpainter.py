"""The miniature's decoder, fine-tuned to inpaint: further input channels, and small changes of its own matrices."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..clip import digest
from ..diffusion import Conditioning
from ..errors import UserError
from ..io.atomic import open_tensors, save_tensors
from .emoji import EmojiDecoder

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

FILE = "inpainting.safetensors"
RANK = 16
EMBEDDING = "pos_embed.proj.weight"  # of the input channels
ADAPTED = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "ff.net.0.proj", "ff.net.2")  # of the picture
HINT = "`python -m latentlab.training decoder --inpaint` makes one"


class InpaintingDelta(nn.Module):
    """What fine-tuning adds to a decoder: weights of the new input channels, and U V for each matrix of the picture.

    The new channels are x_0 where it is known, and where that is.  They and every U start at zero, so that an untrained
    delta leaves the decoder as it is.  Nichol et al. 2021 (GLIDE), section 4; Hu et al. 2021 (LoRA), section 4.1.

    Args:
        network: the decoder's, which is not changed.
        rank: of every U V.
    """

    decoder: Tensor  # (12,), the digits that tell the decoder from others

    def __init__(self, network: SD3Transformer2DModel, rank: int = RANK) -> None:
        super().__init__()
        state = network.state_dict()
        embedding = state[EMBEDDING]
        self.channels = nn.Parameter(embedding.new_zeros(len(embedding), embedding.shape[1] + 1, *embedding.shape[2:]))
        self.names = [
            f"transformer_blocks.{k}.{name}.weight" for k in range(len(network.transformer_blocks)) for name in ADAPTED
        ]
        shapes = [state[name].shape for name in self.names]
        self.up = nn.ParameterList(embedding.new_zeros(rows, rank) for rows, _ in shapes)
        self.down = nn.ParameterList(torch.randn(rank, columns).to(embedding) / columns**0.5 for _, columns in shapes)
        self.register_buffer("decoder", torch.tensor(list(digest(state).encode()), dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(_check_state)

    def weights(self, network: SD3Transformer2DModel) -> Iterator[tuple[str, Tensor]]:
        """The weights that replace the network's own, by name."""
        yield EMBEDDING, torch.cat([network.get_parameter(EMBEDDING), self.channels], 1)
        for name, up, down in zip(self.names, self.up, self.down):
            yield name, network.get_parameter(name) + up @ down

    @torch.no_grad()
    def merged(self, network: SD3Transformer2DModel) -> SD3Transformer2DModel:
        """A copy of the network with these weights."""
        clone = copy.deepcopy(network)
        for name, weight in self.weights(network):
            clone.get_parameter(name).data = weight
        return clone.requires_grad_(False)


def _check_state(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Refuse the weights of a delta that belongs to another decoder.

    Raises:
        UserError: names, shapes or the decoder's digits differ.
    """
    own = module.state_dict()
    wanted, given = ({name: tuple(v.shape) for name, v in tensors.items()} for tensors in (own, state))
    if wanted != given or not torch.equal(own["decoder"].cpu(), state["decoder"].cpu()):
        raise UserError(
            f"the fine-tuned decoder was trained from another decoder than this one: {HINT}, with --restart"
        )


class EmojiInpaintingDecoder(EmojiDecoder):
    """The decoder that was fine-tuned to inpaint: [x_t, m x_0, m] are its channels, m being 1 where x_0 is known."""

    def encode_known(self, x_0: Tensor, mask: Tensor) -> Tensor:
        return known_channels(x_0, mask)

    def channels(self, x_t: Tensor, cond: Conditioning) -> Tensor:
        """x_t and what is known; zeros where nothing is."""
        nothing = x_t.new_zeros(len(x_t), self.shape[0] + 1, *x_t.shape[2:])
        return torch.cat([x_t, nothing if cond.known is None else cond.known.to(x_t)], 1)


def known_channels(x_0: Tensor, mask: Tensor) -> Tensor:
    """x_0 (B, C, H, W) and a mask (B, 1, H, W), True where it is painted, as channels (B, C + 1, H, W)."""
    known = (~mask).to(x_0)
    return torch.cat([x_0 * known, known], 1)


def inpainting_decoder(decoder: EmojiDecoder, delta: InpaintingDelta) -> EmojiInpaintingDecoder:
    """The fine-tuned decoder, beside the one that it was trained from."""
    return EmojiInpaintingDecoder(delta.merged(decoder.network), decoder.autoencoder, decoder.encoder)


def save(delta: InpaintingDelta, folder: Path) -> None:
    """Write the delta in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half() if v.is_floating_point() else v for k, v in delta.state_dict().items()}
    save_tensors(folder / FILE, {k: v.contiguous() for k, v in state.items()}, {})


def load_delta(folder: Path, network: SD3Transformer2DModel) -> InpaintingDelta:
    """The delta in a folder, of the decoder with this network.

    Raises:
        UserError: the file is not there or damaged, or it belongs to another decoder.
    """
    with open_tensors(folder / FILE, "decoder", "down.0", kind="fine-tuned decoder", hint=HINT) as file:
        rank = file.get_slice("down.0").get_shape()[0]
    delta = InpaintingDelta(network, rank)
    state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(folder / FILE).items()}
    delta.load_state_dict(state)
    return delta


def load(folder: Path, decoder: EmojiDecoder) -> EmojiInpaintingDecoder:
    """The fine-tuned decoder whose delta is in a folder.

    Raises:
        UserError: as `load_delta`.
    """
    return inpainting_decoder(decoder, load_delta(folder, decoder.network))
