"""The autoregressive prior: GPT-2 on [prompt, z_t, ẑ_i·ẑ_t, the coordinates of z_i], bin by bin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from transformers import DynamicCache, GPT2Model

from ..analysis.quantiser import Quantiser
from ..autoregression import next_token
from ..errors import UserError
from ..prior import PriorConditioning
from ..slerp import normalize
from . import gpt2

if TYPE_CHECKING:
    from ..clip import Encoder

FILE = "quantiser/quantiser.safetensors"  # in a folder of its own, beside the network's file


class CodeTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]  # both declare config_name
    """transformers' GPT-2 on projections of a prompt's tokens and z_t, and on the bins of a code before them.

    Every place of the code has an embedding of its own for each bin, which predicts that bin as well.

    Args:
        text: W, the width of a prompt's tokens. context: L, their number.
        embed: D, of z_t. length: the numbers of a code. bins: V.
    """

    @register_to_config
    def __init__(
        self,
        text: int = 256,
        context: int = 20,
        embed: int = 256,
        length: int = 28,
        bins: int = 64,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.text_projection, self.z_t_projection = nn.Linear(text, width), nn.Linear(embed, width)
        self.first = context + 1  # the position of the code, whatever the prompts' length
        config = gpt2.configuration(
            vocabulary=length * bins,
            positions=context + 1 + length,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
        )
        self.transformer = GPT2Model(config)

    def prefix(self, z_t: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z_t (B, D) and prompts' tokens (B, L, W), zero after their ends, to the first states.

        Returns:
            states (B, M + 1, width), their mask and their positions (M + 1,), M being the longest prompt's length.
        """
        mask = tokens.abs().sum(-1) > 0
        mask[:, 0] = True  # an empty prompt keeps one token of zeros
        longest = int(mask.any(0).nonzero().max()) + 1
        tokens, mask = tokens[:, :longest], mask[:, :longest]
        z_t = normalize(z_t) * z_t.shape[-1] ** 0.5  # at unit variance; the null z_t = 0 stays 0
        states = torch.cat([self.text_projection(tokens), self.z_t_projection(z_t)[:, None]], 1)
        positions = torch.cat([torch.arange(longest), torch.tensor([self.first - 1])]).to(z_t.device)
        return states, F.pad(mask, (0, 1), value=True), positions

    def embed(self, codes: Tensor, first: int = 0) -> Tensor:
        """The bins (B, n) of the code's numbers first … first + n: (B, n, width)."""
        places = torch.arange(first, first + codes.shape[1], device=codes.device)
        return self.transformer.wte(codes + self.config["bins"] * places)

    def logits(self, states: Tensor, first: int = 0) -> Tensor:
        """States (B, n, width) that predict the numbers first … first + n: (B, n, V)."""
        tables = self.transformer.wte.weight.view(self.config["length"], self.config["bins"], -1)
        return torch.einsum("bnw,nvw->bnv", states, tables[first : first + states.shape[1]])

    def forward(self, z_t: Tensor, tokens: Tensor, codes: Tensor) -> Tensor:
        """The logits of every number of a code from those before it: (B, length, V)."""
        states, mask, positions = self.prefix(z_t, tokens)
        count = codes.shape[1] - 1
        later = torch.arange(self.first, self.first + count, device=positions.device)
        output = self.transformer(
            inputs_embeds=torch.cat([states, self.embed(codes[:, :-1])], 1),
            attention_mask=F.pad(mask, (0, count), value=True),
            position_ids=torch.cat([positions, later])[None],
        )
        return self.logits(output.last_hidden_state[:, -codes.shape[1] :])


class AutoregressivePrior:
    """A prior that draws z_i coordinate by coordinate.  Ramesh et al. 2022, section 2.2.

    Args:
        encode_prompt: prompts to what the network was trained on; the lab's diffusion prior has it.
    """

    max_batch_size = 256

    def __init__(
        self,
        network: CodeTransformer,
        quantiser: Quantiser,
        encode_prompt: Callable[[Sequence[str]], PriorConditioning],
    ) -> None:
        config = network.config
        if (config["length"], config["bins"]) != (quantiser.length, quantiser.bins):
            raise UserError(
                f"the network predicts {config['length']} numbers of {config['bins']} bins, and its quantiser has "
                f"{quantiser.length} of {quantiser.bins}: take both from one training"
            )
        self.network, self.quantiser, self.encode_prompt = network, quantiser, encode_prompt
        self.noise_width = quantiser.length

    @torch.no_grad()
    def draw(self, noise: Tensor, cond: PriorConditioning, guidance: float = 1.0) -> Tensor:
        """Normal noise (B, 1 + K) and B prompts to z_i (B, D).

        Each number is drawn by the inverse of its distribution function at Φ(noise), so that near noise gives near
        codes.  The first one, ẑ_i·ẑ_t, comes from the top half of its distribution, as in the paper; ours is the one
        that the network predicts for the prompt.
        """
        uniform = torch.special.ndtr(noise)
        uniform[:, 0] = (1 + uniform[:, 0]) / 2
        return self.quantiser.decode(self._codes(uniform, cond, guidance)).to(noise.dtype)

    def _codes(self, uniform: Tensor, cond: PriorConditioning, guidance: float) -> Tensor:
        """The code (B, 1 + K) at these values of the distribution functions."""
        z_t, tokens = cond.z_t, cond.tokens
        if guidance != 1:
            z_t, tokens = (torch.cat([part, torch.zeros_like(part)]) for part in (z_t, tokens))
        states, mask, positions = self.network.prefix(z_t, tokens)
        cache, codes = DynamicCache(), list[Tensor]()
        for k in range(self.quantiser.length):
            output = self.network.transformer(
                inputs_embeds=states,
                attention_mask=mask,
                position_ids=positions[None],
                past_key_values=cache,
                use_cache=True,
            )
            logits = self.network.logits(output.last_hidden_state[:, -1:], k)[:, 0]  # (B, V)
            codes.append(next_token(logits, uniform[:, k], guidance=guidance))
            states = self.network.embed(codes[-1][:, None], k).repeat(len(states) // len(uniform), 1, 1)
            mask, positions = F.pad(mask, (0, 1), value=True), positions[-1:] + 1
        return torch.stack(codes, 1)

    def save(self, folder: Path) -> None:
        """Write the quantiser beside the network's own files."""
        (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
        self.quantiser.save(folder / FILE)


def load(
    folder: Path, encoder: Encoder, encode_prompt: Callable[[Sequence[str]], PriorConditioning]
) -> AutoregressivePrior | None:
    """The autoregressive prior in a folder; None where there is none, or one of another CLIP.

    Raises:
        UserError: its quantiser is damaged, or another training's.
    """
    if not (folder / FILE).is_file():
        return None
    quantiser = Quantiser.load(folder / FILE)
    if quantiser.directions.metadata.get("clip") != encoder.fingerprint():
        return None
    network = CodeTransformer.from_pretrained(folder, torch_dtype=torch.float32).eval()
    nn.Module.to(nn.Module.requires_grad_(network, False), encoder.device)
    return AutoregressivePrior(network, quantiser, encode_prompt)
