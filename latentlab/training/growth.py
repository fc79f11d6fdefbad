"""Weights of a smaller network as the start of a larger one that computes the same (Net2Net, Chen et al. 2016)."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The last norms of residual blocks: open_clip's ModifiedResNet and diffusers' AutoencoderDC.
LAST_NORM = re.compile(r"\.(bn3|norm)\.(weight|bias)$")


@torch.no_grad()
def deepened(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Extend the weights of a network with fewer residual blocks to `network`.

    The last norm of each further block is zero, so that the block is the identity.
    """
    further = {key: value.clone() for key, value in network.state_dict().items() if key not in state}
    for key, value in further.items():
        if LAST_NORM.search(key):
            value.zero_()
    return {**state, **further}


@torch.no_grad()
def widened(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Extend the weights of an autoencoder with fewer latent channels to `network`, which then decodes alike.

    Shortcuts that `network` lacks are folded into the middle taps of the convolutions that they went around. The
    encoder fills the new channels with random mixtures of its features, and the decoder's weights for them are zero.
    """
    state, own = dict(state), network.state_dict()
    out, into = state["encoder.conv_out.weight"], state["decoder.conv_in.weight"]  # (C, W, 3, 3), (W, C, 3, 3)
    old, width = out.shape[:2]
    if own["encoder.conv_out.weight"].shape[0] == old:
        return state
    new, group = own["encoder.conv_out.weight"].shape[0] - old, width // old
    spread = torch.eye(old).repeat_interleave(group, 1)  # the wide layer's channels that a latent's shortcut joins
    out[:, :, 1, 1] += spread / group
    into[:, :, 1, 1] += spread.T
    grown = torch.randn(new, width, 3, 3, generator=torch.Generator().manual_seed(0)) * out.std()
    state["encoder.conv_out.weight"] = torch.cat([out, grown])
    state["encoder.conv_out.bias"] = F.pad(state["encoder.conv_out.bias"], (0, new))
    state["decoder.conv_in.weight"] = torch.cat([into, into.new_zeros(width, new, 3, 3)], 1)
    return state
