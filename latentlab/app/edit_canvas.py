"""The canvas of Edit: what a visitor paints on, the mask that is read from it, and the strip of the history below."""

from __future__ import annotations

from typing import Any

import gradio as gr
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..io import images
from . import outputs

SIDE = 512  # pixels of the canvas on its longer side
BRUSH = "#ec4899aa"  # the picture shows through


def editor(value: Any) -> gr.ImageEditor:
    """What the visitor paints the mask on."""
    return gr.ImageEditor(
        value,
        label="Paint over what should change",
        show_label=False,
        type="pil",
        image_mode="RGBA",
        sources=(),
        layers=False,
        transforms=(),
        buttons=[],
        height=SIDE + 90,
        canvas_size=(SIDE, SIDE),
        eraser=gr.Eraser(default_size=30),
        brush=gr.Brush(default_size=30, colors=[BRUSH], default_color=BRUSH, color_mode="fixed"),
        elem_id="edit-canvas",
    )


def live(canvas: dict[str, Any] | None) -> gr.Image:
    """The preview that covers the canvas during a run; until the canvas is drawn, the picture that it will show."""
    return gr.Image(
        canvas["background"] if canvas else None,
        label="Preview",
        show_label=False,
        interactive=False,
        buttons=[],
        format="png",
        elem_classes="live",
        alt_text="unfinished",
    )


def strip(states: dict[str, Any]) -> gr.Gallery:
    """The pictures of the history, of which a press on one makes it the current state."""
    return gr.Gallery(
        **states,
        label="History",
        show_label=False,
        columns=6,
        height="auto",
        object_fit="contain",
        format="png",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_classes="strip",
        elem_id="edit-strip",
    )


def enlarged(picture: Image.Image) -> Image.Image:
    """The picture at the size of the canvas."""
    scale = SIDE / max(picture.size)
    return picture.resize([round(side * scale) for side in picture.size], Image.Resampling.LANCZOS)


def with_background(picture: Image.Image | None) -> dict[str, Any] | None:
    """The canvas with this picture and nothing painted over it."""
    return None if picture is None else {"background": outputs.file(picture), "layers": [], "composite": None}


def painted(canvas: dict[str, Any] | None, size: tuple[int, int]) -> Tensor | None:
    """The painted part of the canvas as a mask (H, W) of this size; None if nothing is painted."""
    layer = next(iter((canvas or {}).get("layers") or ()), None)
    if not isinstance(layer, Image.Image):
        return None
    alpha = layer.convert("RGBA").getchannel("A")
    if not alpha.getbbox():
        return None
    mask = (images.to_tensor(alpha.convert("RGB"))[:, :1] > -0.8).float()  # the rim of a stroke is nearly transparent
    return F.adaptive_max_pool2d(mask, size)[0, 0] > 0
