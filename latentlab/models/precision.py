"""The device and the precision that a user names."""

from __future__ import annotations

import torch

from ..errors import UserError

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def device(name: str | torch.device | None) -> torch.device:
    """The device of that name, by default a GPU if there is one.

    Raises:
        UserError: the device can't be used for computations.
    """
    name = name if name is not None else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.empty(0, device=name).device
        torch.ones(1, device=place).sum().item()  # some backends have a name but can't compute
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        usable = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise UserError(f"device {str(name)!r} can't be used here: give {usable}") from error
    return place


def dtype(name: str | torch.dtype | None) -> torch.dtype | None:
    """The precision of that name; None leaves it to the model.

    Raises:
        UserError: the name is none of the three.
    """
    precision = DTYPES.get(name) if isinstance(name, str) else name
    if name is not None and precision not in DTYPES.values():
        raise UserError(f"dtype is {str(name)!r}: give float16, bfloat16 or float32")
    return precision


def is_single(precision: torch.dtype | None) -> bool:
    """Whether a precision is float32, which is the default."""
    return precision in (None, torch.float32)
