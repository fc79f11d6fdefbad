"""Whether networks fit into memory, and how they share a GPU when they don't.

accelerate's `cpu_offload_with_hook` moves out one fixed predecessor of each network.  Our calls come in any order: an
encoder that is called again after the decoder would leave both on the device.  Its `disk_offload` reads each layer
anew for each evaluation and writes a copy of the weights to disk, so 25 evaluations took ten times as long as with
`Turns`, which reads a network once for all of them (`benchmarks/offload.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)

HEADROOM = 1.5  # gigabytes beside the weights: activations of one batch
LARGE = 2**16  # numbers in a weight that is worth moving


def free_gigabytes(device: torch.device) -> float:
    """The free memory of a device; infinite where the system does not tell it."""
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
    """Networks that share a device: a network moves in when it is called, and the previous one moves out.

    The moves are made by a hook of accelerate, which diffusers' autoencoders also call for `encode` and `decode`.

    Args:
        device: the device that the running network computes on.
        on_disk: free the memory of the waiting networks, and read their weights again when they are called.
    """

    def __init__(self, device: torch.device, *, on_disk: bool = False) -> None:
        self.device, self.on_disk = device, on_disk
        self.running: nn.Module | None = None
        # The names of the weights that move. Small weights stay, because other code reads them without a call.
        self.large: dict[nn.Module, tuple[str, ...]] = {}

    def add(self, module: N, read: Callable[[], nn.Module]) -> N:
        """Let a network wait for its calls.

        Args:
            read: reads the same network again from its files.
        """
        from accelerate.hooks import ModelHook, add_hook_to_module

        class Turn(ModelHook):
            def pre_forward(
                hook, module: nn.Module, *args: Any, **kwargs: Any
            ) -> tuple[tuple[Any, ...], dict[str, Any]]:
                self.take(module, read)
                return args, kwargs

        self.large[module] = tuple(name for name, weight in module.named_parameters() if weight.numel() >= LARGE)
        self._leave(module.to(self.device))
        add_hook_to_module(module, Turn())
        return module

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
