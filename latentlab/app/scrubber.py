"""A slider that scrubs through the frames of a path, one for each path; the frames lie side by side in one picture."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence

import gradio as gr
from PIL import Image
from torch import Tensor

from ..io.images import to_pil

SIDE = 256  # pixels of a frame
SCRUB = """
element.addEventListener('input', event => {
  const path = event.target.closest('.scrub'), titles = JSON.parse(path.dataset.titles), k = Number(event.target.value);
  path.style.setProperty('--frame', k);
  path.querySelector('[role=img]').setAttribute('aria-label', titles[k]);
  path.querySelector('output').textContent = titles[k];
  event.target.setAttribute('aria-valuetext', titles[k]);
});
"""


def component() -> gr.HTML:
    """Build the output that shows what `draw` returns."""
    return gr.HTML(visible=False, padding=False, elem_classes="result", js_on_load=SCRUB)


def draw(paths: Mapping[str, tuple[Tensor, Sequence[str]]]) -> str:
    """Draw a slider for each path: heading -> (frames (N, 3, H, W), N titles)."""
    return f'<div class="scrubs">{"".join(_draw(heading, *path) for heading, path in paths.items())}</div>'


def _draw(heading: str, frames: Tensor, titles: Sequence[str]) -> str:
    first = len(frames) // 2
    label = html.escape(heading, quote=True)
    style = f"--last:{max(len(frames) - 1, 1)};background-image:url({_strip(frames)});"
    style += f"background-size:{len(frames)}00% 100%"
    return (
        f'<div class="scrub" style="--frame:{first}" data-titles="{html.escape(json.dumps(list(titles)), quote=True)}">'
        f"<h3>{html.escape(heading)}</h3>"
        f'<div role="img" aria-label="{html.escape(titles[first], quote=True)}" style="{style}"></div>'
        f'<input type="range" min="0" max="{len(frames) - 1}" value="{first}" aria-label="{label}: frame">'
        f"<output>{html.escape(titles[first])}</output></div>"
    )


def _strip(frames: Tensor) -> str:
    """Return frames (N, 3, H, W) side by side, as a WebP in a data URL."""
    strip = Image.new("RGB", (SIDE * len(frames), SIDE))
    for k, frame in enumerate(to_pil(frames)):
        strip.paste(frame.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE * k, 0))
    buffer = io.BytesIO()
    strip.save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
