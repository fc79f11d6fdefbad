"""transformers' GPT-2 as a small causal transformer over tokens: how it is built, written and read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..io.atomic import open_tensors, read_json
from .checkpoint import quiet

if TYPE_CHECKING:
    from transformers import GPT2Config, GPT2LMHeadModel


def configuration(
    *, vocabulary: int, positions: int, width: int, layers: int, heads: int, dropout: float = 0.0
) -> GPT2Config:
    """The sizes of a GPT-2 without tokens of its own for the beginning and the end."""
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=0.0,
        activation_function="gelu_pytorch_tanh",  # gelu_new in one operation
        bos_token_id=None,
        eos_token_id=None,
    )


def build(**sizes: Any) -> GPT2LMHeadModel:
    """GPT2LMHeadModel of this `configuration` with random weights; its output layer is its table of embeddings."""
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel(configuration(**sizes))


def save_half(network: GPT2LMHeadModel, folder: Path) -> None:
    """Write the network in half precision by `save_pretrained`, without changing the network itself."""
    copy.deepcopy(network).half().save_pretrained(folder)


def load(folder: Path, *, retrain: str) -> GPT2LMHeadModel:
    """The network in a folder, in float32 and frozen.

    Args:
        retrain: the command that writes the folder anew.

    Raises:
        UserError: a file is missing, damaged or not finite, or is no GPT-2.
    """
    from torch import float32
    from transformers import GPT2LMHeadModel

    hint = f"`{retrain}` writes it anew"
    config = read_json(folder / "config.json", hint)
    if config.get("model_type") != "gpt2":
        raise UserError(f"{folder}/config.json is of the type {config.get('model_type')!r}, wanted 'gpt2': {hint}")
    with open_tensors(folder / "model.safetensors", kind="transformer", hint=hint):
        pass
    with quiet():
        network: GPT2LMHeadModel = GPT2LMHeadModel.from_pretrained(folder, dtype=float32, local_files_only=True)
    return network.eval().requires_grad_(False)
