"""Where a thing stands in a picture whose background has the colour of its border."""

from __future__ import annotations

from torch import Tensor

from ..errors import UserError

CONTRAST = 0.3  # from the background's colour, in any channel of [-1, 1]


def centre(pixels: Tensor) -> Tensor:
    """The horizontal middle of what differs from the background: (B, 3, H, W) in [-1, 1] to (B,), left 0, right 1.

    The background has the median colour of the upper border. Where nothing stands out, the middle is 0.5.

    Raises:
        UserError: not (B, 3, H, W).
    """
    if pixels.ndim != 4:
        raise UserError(f"pixels are {tuple(pixels.shape)}, wanted (B, 3, H, W)")
    ground = pixels[:, :, 0].median(-1).values[:, :, None, None]
    thing = ((pixels - ground).abs().amax(1) > CONTRAST).float().sum(1)  # (B, W)
    columns = thing.new_tensor([(k + 0.5) / thing.shape[1] for k in range(thing.shape[1])])
    total = thing.sum(1)
    return ((thing * columns).sum(1) / total.clamp_min(1)).where(total > 0, 0.5)
