"""Tensors that are computed once and kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..io.atomic import atomic_write


def built_once(path: Path, build: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, ...]:
    """Read the tensors of a file, which is built and written where it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            torch.save(tuple(build()), part)
    tensors: tuple[Tensor, ...] = torch.load(path, weights_only=True)
    return tensors
