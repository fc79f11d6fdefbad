"""Where a model computes, and in which precision, from what a user says."""

from __future__ import annotations

import torch

from ..errors import UserError

KNOWN = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def device(given: str | torch.device | None) -> torch.device:
    """The device asked for, or a GPU if there is one.

    Raises:
        UserError: it can't be computed on.
    """
    given = given if given is not None else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.empty(0, device=given).device
        torch.ones(1, device=found).sum().item()  # some backends can be named, but not computed on
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        usable = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise UserError(f"device {str(given)!r} can't be used here: give {usable}") from error
    return found


def dtype(given: str | torch.dtype | None) -> torch.dtype | None:
    """The precision asked for; None leaves it to the model.

    Raises:
        UserError: it is none of the three.
    """
    found = KNOWN.get(given, given) if isinstance(given, str) else given
    if found is not None and found not in KNOWN.values():
        raise UserError(f"dtype is {str(given)!r}: give float16, bfloat16 or float32")
    return found


def single(given: torch.dtype | None) -> bool:
    return given in (None, torch.float32)
