"""Joint attention over a context whose last token stands for several equal tokens."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn


def merged(text: Tensor) -> tuple[Tensor, int]:
    """Merge the empty tokens at the end of every text into one, and count them.

    Empty tokens are equal at the input and stay equal through all layers.  Softmax gives n equal keys the same weight
    as one key with log n added to its logit, so the network's output does not change.

    Args:
        text: (B, L, W); empty tokens are zero.

    Returns:
        text (B, up to L, W); the number of tokens that the last one stands for.
    """
    used_by_any = text.ne(0).any(-1).any(0)  # (L,)
    used = int(used_by_any.nonzero().max()) + 1 if used_by_any.any() else 0
    count = text.shape[1] - used
    return (text[:, : used + 1], count) if count > 1 else (text, 1)


class MergedAttention:
    """diffusers' JointAttnProcessor2_0, with log `count` on the logit of the context's last token.

    Attention always passes an attention_mask; the transformer has none.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        count: int = 1,
    ) -> tuple[Tensor, Tensor]:
        def heads(x: Tensor, project: nn.Module, norm: nn.Module | None = None) -> Tensor:
            split = project(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (B, heads, N, D)
            return split if norm is None else norm(split)

        picture, text = hidden_states, encoder_hidden_states
        q = torch.cat([heads(picture, attn.to_q, attn.norm_q), heads(text, attn.add_q_proj, attn.norm_added_q)], 2)
        k = torch.cat([heads(picture, attn.to_k, attn.norm_k), heads(text, attn.add_k_proj, attn.norm_added_k)], 2)
        v = torch.cat([heads(picture, attn.to_v), heads(text, attn.add_v_proj)], 2)
        bias = F.pad(q.new_tensor([[math.log(count)]]), (k.shape[2] - 1, 0)) if count > 1 else None  # (1, N)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        picture, text = attended.split([picture.shape[1], text.shape[1]], 1)
        return attn.to_out[0](picture), text if attn.context_pre_only else attn.to_add_out(text)
