"""Whether networks fit into memory, and how they share a GPU when they don't."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

HEADROOM = 1.5  # gigabytes beside the weights: activations of one batch


def free_gigabytes(device: torch.device) -> float:
    """Memory that is free on a device; infinite where it can't be asked."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e9
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
    except (OSError, ValueError, KeyError):
        return math.inf


def room(memory: Mapping[str, float]) -> tuple[float, float]:
    """Gigabytes that a model wants on the device that it would be loaded on, and that are free there."""
    if torch.cuda.is_available():
        return memory["float16"], free_gigabytes(torch.device("cuda"))
    return memory["float32"], free_gigabytes(torch.device("cpu"))


class Turns:
    """Networks that share a device: the one that is called moves in, and the one before it moves out.

    A hook of accelerate, because diffusers' autoencoders call it for `encode` and `decode`, too.
    """

    def __init__(self, device: torch.device):
        self.device, self.running = device, None

    def add(self, module: nn.Module) -> nn.Module:
        from accelerate.hooks import ModelHook, add_hook_to_module

        class Turn(ModelHook):
            def pre_forward(hook, module, *args, **kwargs):
                self.take(module)
                return args, kwargs

        return add_hook_to_module(module, Turn())

    def take(self, module: nn.Module) -> None:
        if self.running is not module:
            if self.running is not None:
                self.running.to("cpu")
            module.to(self.device)
            self.running = module
