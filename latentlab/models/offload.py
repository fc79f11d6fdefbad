"""Whether networks fit into memory, and how they share a GPU when they don't."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

HEADROOM = 1.5  # gigabytes beside the weights: activations of one batch
LARGE = 2**16  # numbers in a weight that is worth moving


def free_gigabytes(device: torch.device) -> float:
    """Memory that is free on a device; infinite where it can't be asked."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e9
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
    except (OSError, ValueError, KeyError):
        return math.inf


def default_target() -> tuple[torch.device, str]:
    """The device and the precision of a model for which the user gives neither."""
    if torch.cuda.is_available():
        return torch.device("cuda"), "float16"
    return torch.device("cpu"), "float32"


class Turns:
    """Networks that share a device: the one that is called moves in, and the one before it moves out.

    A hook of accelerate, because diffusers' autoencoders call it for `encode` and `decode`, too.

    Args:
        device: where the running one computes.
        on_disk: those that wait take no memory: they are read again when their turn comes.
    """

    def __init__(self, device: torch.device, *, on_disk: bool = False):
        self.device, self.on_disk, self.running = device, on_disk, None
        self.large: dict[nn.Module, tuple[str, ...]] = {}  # what moves; small weights stay, for what reads them alone

    def add(self, module: nn.Module, read: Callable[[], nn.Module]) -> nn.Module:
        """The module, waiting for its turn.

        Args:
            read: gives the same network anew, from its files.
        """
        from accelerate.hooks import ModelHook, add_hook_to_module

        class Turn(ModelHook):
            def pre_forward(hook, module, *args, **kwargs):
                self.take(module, read)
                return args, kwargs

        self.large[module] = tuple(name for name, weight in module.named_parameters() if weight.numel() >= LARGE)
        self._leave(module.to(self.device))
        return add_hook_to_module(module, Turn())

    def take(self, module: nn.Module, read: Callable[[], nn.Module]) -> None:
        if self.running is module:
            return
        if self.running is not None:
            self._leave(self.running)
        source = read() if self.on_disk else module
        for name in self.large[module]:
            module.get_parameter(name).data = source.get_parameter(name).data.to(self.device)
        self.running = module

    def _leave(self, module: nn.Module) -> None:
        for weight in map(module.get_parameter, self.large[module]):
            weight.data = weight.data.new_empty(0) if self.on_disk else weight.data.to("cpu")
