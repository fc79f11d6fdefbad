"""Sentences, bars, tables and figures as HTML."""

from __future__ import annotations

import base64
import html
import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..io.images import to_pil
from . import diagram, glossary

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image
    from torch import Tensor

STAGES = {
    "prior": "Prior: from caption to image embedding",
    "first stage": "First stage: what it keeps of the picture",
    "inversion": "Inversion: from picture to x_T",
    "decoder": "Decoder: from noise to picture",
    "upsampler": "Upsampler: to full size",
    "CLIP": "CLIP: encoding pictures and captions",
}
GREEK = {"eta": "η", "theta": "θ", "sigma": "σ"}
# What matplotlib draws in black, grey and its first colours, in variables of the style sheet.
PLOT_COLOURS = {
    "#000000": "currentColor",
    "#b0b0b0": "var(--border-color-primary)",
    "#1f77b4": "var(--plot-1)",
    "#ff7f0e": "var(--plot-2)",
    "#2ca02c": "var(--plot-3)",
    "#d62728": "var(--plot-4)",
}
SERVER_ERROR = "Something went wrong on the server. Please try again, or ask for fewer pictures."


class StageClock:
    """An estimate of the seconds that a stage still takes, from the times of its steps so far."""

    def __init__(self, needed: int = 3):
        self.needed = needed
        self.stage = ""
        self.marks: list[tuple[int, float]] = []  # (step, its time in seconds)

    def left(self, stage: str, step: int, steps: int) -> float | None:
        if stage != self.stage or (self.marks and step < self.marks[-1][0]):  # a sweep decodes more than once
            self.stage, self.marks = stage, []
        if step and (not self.marks or step > self.marks[-1][0]):
            self.marks.append((step, time.monotonic()))
        if len(self.marks) <= self.needed:
            return None
        # The first step is left out: it warms up, and its start was not timed.
        (first, start), (last, end) = self.marks[0], self.marks[-1]
        return (end - start) / (last - first) * (steps - last)


def progress_bar(stage: str, step: int, steps: int, seconds: float | None = None) -> str:
    """Draw the progress of a stage: its name, its steps, and an estimate of the seconds that it still takes."""
    remaining = "" if seconds is None or step >= steps else f" · about {max(1, round(seconds))} s left of this stage"
    name = STAGES.get(stage, stage[:1].upper() + stage[1:])
    position = f" · step {step} of {steps}" if steps > 1 else " …"
    label = html.escape(f"{name}{position}{remaining}")
    value = f' value="{step}"' if steps > 1 else ""
    meter = f'<progress{value} max="{steps}" aria-label="{label}"></progress>'
    return f'<div class="bar" role="status">{label}{meter}</div>'


def message(text: str, kind: str = "", notes: Sequence[str] = ()) -> str:
    """Draw a message and the notes under it; kind is "wrong" for an error."""
    role = "alert" if kind == "wrong" else "status"
    note_lines = "".join(note(f"Note: {line}.") for line in notes)
    lines = glossary.marked(f"<p>{html.escape(text)}</p>{note_lines}")
    return f'<div class="bar {kind}" role="{role}">{lines}</div>'


def description(title: str, text: str, stages: Iterable[str]) -> str:
    """Draw a page's heading and description, and the pipeline with the page's own stages lit."""
    return f"<div><h2>{title}</h2><p>{glossary.marked(text)}</p></div>{diagram.draw(stages)}"


def note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def error_sentence(error: Exception | str) -> str:
    """Return an error's text as a sentence; a file or a symbol at its start keeps its first letter."""
    text = str(error)
    first_word = text.split(" ", 1)[0]
    sentence = text if "." in first_word or "_" in first_word else f"{text[:1].upper()}{text[1:]}"
    return sentence + "." * (not text.endswith((".", "?", "!")))


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "<td>–</td>"
    between = ""
    if row.get("low") is not None:
        between = f"<small>{_number(row['low'])} to {_number(row['high'])}</small>"
    return f"<td>{_number(row['value'])}{between}</td>"


def results_table(rows: Sequence[Mapping[str, Any]], max_columns: int = 8) -> str:
    """Draw a result's tidy table with a line for each quantity and a column for each place of the sweep.

    `gr.Dataframe` would show the same table, but only one column of values with intervals fits on a phone.
    """
    fixed = ("quantity", "value", "n", "low", "high")
    keys = list(dict.fromkeys(k for row in rows for k in row if k not in fixed))
    across = keys[-1] if keys and len({row.get(keys[-1]) for row in rows}) > 1 else None
    columns = list(dict.fromkeys(row.get(across) for row in rows if across in row)) if across else []
    if all(isinstance(column, int | float) for column in columns):
        columns.sort()  # some quantities lack the first place of a sweep, like a change since θ = 0
    columns = columns[:max_columns]
    lines: dict[tuple[str, ...], dict[Any, Mapping[str, Any]]] = {}
    for row in rows:
        name = (row["quantity"], *(str(row[k]) for k in keys if k != across and k in row))
        lines.setdefault(name, {})[row.get(across) if across else None] = row
    symbol = GREEK.get(across, across) if across else ""
    head = [_number(c) if isinstance(c, str) else f"{symbol} = {_number(c)}" for c in columns] or ["value"]
    body = "".join(
        f'<tr><th scope="row">{html.escape(" · ".join(name))}</th>'
        + "".join(_cell(cells.get(c, cells.get(None))) for c in columns or [None])
        + "</tr>"
        for name, cells in lines.items()
    )
    titles = "".join(f'<th scope="col">{html.escape(t)}</th>' for t in head)
    small = note("Small figures are 95% intervals.") if "<small>" in body else ""
    return (
        f'<div class="numbers" tabindex="0" role="region" aria-label="The numbers"><table><thead><tr>'
        f'<th scope="col">quantity</th>{titles}</tr></thead><tbody>{body}</tbody></table></div>{small}'
        f"{glossary.legend(' '.join([*head, *(part for name in lines for part in name)]))}"
    )


def probability_bars(columns: Mapping[str, Sequence[tuple[str, float]]]) -> str:
    """Draw labels with their probabilities as bars, a block for each heading: heading -> [(label, probability)].

    `gr.Label` would show the same bars at almost three times the height.
    """
    blocks = []
    for heading, rows in columns.items():
        lines = "".join(
            f'<li><span>{html.escape(label)}</span><b>{p:.0%}</b><i style="--share:{p:.3f}"></i></li>'
            for label, p in rows
        )
        blocks.append(f"<div><h3>{html.escape(heading)}</h3><ol>{lines}</ol></div>")
    return f'<div class="probabilities">{"".join(blocks)}</div>'


def figure_html(figure: Figure, alt: str) -> str:
    """Draw a matplotlib figure as SVG in the page's own colours and font, with an alternative text."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for colour, variable in PLOT_COLOURS.items():
        svg = svg.replace(colour, variable)
    label = html.escape(alt, quote=True)
    return f'<div class="figure" role="img" aria-label="{label}">{svg}</div>'


def similarity_table(pixels: Tensor, captions: Sequence[str], similarity: Tensor) -> str:
    """Draw cosines as a table with a row for each caption and a column for each picture.

    Args:
        pixels: (B, 3, H, W).
        similarity: (B, N).
    """
    low, high = float(similarity.min()), float(similarity.max())
    shares = (similarity.T - low) / max(high - low, 1e-9)
    pictures = "".join(
        f'<th scope="col"><img alt="picture {k + 1}" src="{picture_url(picture)}"></th>'
        for k, picture in enumerate(to_pil(pixels))
    )
    lines = []
    for caption, cosines, row in zip(captions, similarity.T.tolist(), shares.tolist()):
        best = row.index(max(row))
        cells = "".join(
            f'<td style="--share:{share:.2f}"{" class=best" * (k == best)}>{cosine:.2f}</td>'
            for k, (cosine, share) in enumerate(zip(cosines, row))
        )
        lines.append(f'<tr><th scope="row">{html.escape(caption)}</th>{cells}</tr>')
    head = f'<thead><tr><th scope="col">cosine</th>{pictures}</tr></thead>'
    return (
        '<div class="numbers similarity" tabindex="0" role="region" aria-label="Cosines of captions and pictures">'
        f"<table>{head}<tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="note">A frame marks the picture that CLIP finds closest to the caption.</p>'
    )


def picture_url(picture: Image.Image, side: int = 64) -> str:
    """Return a picture as a WebP in a data URL, at most `side` pixels on its longer side."""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
