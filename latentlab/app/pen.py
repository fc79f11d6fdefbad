"""A sheet on which a visitor's strokes join those of a drawing: SVG and pointer events, strokes as JSON."""

from __future__ import annotations

import json
from typing import Any

import torch

from ..errors import UserError
from ..strokes import WIDTHS, Paths, fitted, hexadecimal, parsed_colours

MAX_STROKES = 400
# The sheet keeps its strokes in data-strokes. A new one is drawn at once; the server gets all when the pen is lifted.
POINTER = """
const point = (event, svg) => {
  const box = svg.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
    .map(v => Math.round(1e4 * Math.min(1, Math.max(0, v))) / 1e4);
};
let pen = null, line = null;
element.addEventListener('pointerdown', event => {
  const svg = event.target.closest('.pen svg');
  if (!svg) return;
  event.preventDefault();
  svg.setPointerCapture(event.pointerId);
  const colour = element.querySelector('.pen input[type=color]').value;
  const width = Number(element.querySelector('.pen input[type=range]').value);
  pen = {pen: [point(event, svg)], width: width, colour: colour};
  line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
  const look = {fill: 'none', stroke: colour, 'stroke-width': 100 * width, 'stroke-linecap': 'round'};
  for (const [name, value] of Object.entries(look)) line.setAttribute(name, value);
  svg.append(line);
});
element.addEventListener('pointermove', event => {
  if (!pen || pen.pen.length > 400) return;
  pen.pen.push(point(event, line.ownerSVGElement));
  line.setAttribute('points', pen.pen.map(([x, y]) => `${100 * x},${100 * y}`).join(' '));
});
const send = sheet => trigger('click', {sheet: sheet});
element.addEventListener('pointerup', event => {
  if (!pen) return;
  const root = element.querySelector('.pen'), strokes = JSON.parse(root.dataset.strokes);
  if (pen.pen.length > 1) strokes.push(pen); else line.remove();
  pen = null;
  root.dataset.strokes = JSON.stringify(strokes);
  send(root.dataset.strokes);
});
element.addEventListener('click', event => {
  const button = event.target.closest('.pen button');
  if (button) send(button.dataset.action === 'clear' ? 'clear' : element.querySelector('.pen').dataset.strokes);
});
"""


def sheet_html(strokes: list[dict[str, Any]], svg: str) -> str:
    """The sheet with a drawing, given as its strokes and as SVG."""
    data = json.dumps(strokes, separators=(",", ":")).replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;")
    return (
        f"<div class='pen' data-strokes='{data}'>{svg}"
        "<p><label>Pen <input type='color' value='#111111' aria-label='Colour of the pen'></label> "
        "<input type='range' min='0.01' max='0.1' step='0.005' value='0.03' aria-label='Width of the pen'></p>"
        "<p><button type='button' data-action='keep'>Keep these strokes</button> "
        "<button type='button' data-action='clear'>Empty sheet</button></p></div>"
    )


def blank_sheet() -> str:
    return sheet_html([], '<svg viewBox="0 0 100 100"><rect width="100" height="100" fill="#ffffff"/></svg>')


def sheet_of(paths: Paths) -> str:
    """The sheet with the first of these drawings."""
    one = paths[0]
    strokes = [
        {"curve": [[round(v, 4) for v in point] for point in curve], "width": round(width, 4), "colour": hexadecimal(c)}
        for curve, width, c in zip(one.curves[0, :, 0].tolist(), one.widths[0].tolist(), one.colours[0])
    ]
    return sheet_html(strokes, paths.svg())


def parsed_sheet(text: str) -> Paths | None:
    """The strokes of a sheet on white paper, None of an empty one.

    Raises:
        UserError: the text is no list of strokes, or has more than `MAX_STROKES`.
    """
    try:
        strokes = json.loads(text) if text.strip() else []
        curves = [_curve(stroke) for stroke in strokes]
        widths = torch.tensor([min(max(float(stroke["width"]), WIDTHS[0]), WIDTHS[1]) for stroke in strokes])
        colours = parsed_colours([str(stroke["colour"]) for stroke in strokes])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("the sheet's strokes can't be read: empty the sheet, and draw again") from error
    if len(strokes) > MAX_STROKES:
        raise UserError(
            f"the sheet has {len(strokes)} strokes, at most {MAX_STROKES} are drawn: empty it, and draw again"
        )
    if not strokes:
        return None
    return Paths(torch.stack(curves)[None, :, None], widths[None], colours[None], torch.ones(1, 3, 1, 1))


def _curve(stroke: dict[str, Any]) -> torch.Tensor:
    """The control points (4, 2) of a drawing's stroke, or of one that is fitted to a pen's."""
    if "pen" in stroke:
        return fitted(stroke["pen"], 1)[0]
    curve = torch.tensor(stroke["curve"], dtype=torch.float32)
    if curve.shape != (4, 2) or not curve.isfinite().all():
        raise ValueError("no curve")
    return curve
