"""The finished example that a page opens on: a run of its defaults, which `docs/finished.py` computes and stores."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..io.atomic import atomic_write
from . import markup, model_cache, outputs
from .events import QUIET, Updates
from .outputs import OutputImage, RunOutput
from .page import Page
from .results import RunComponents, RunView, result_update

FOLDER = Path(__file__).parent / "examples"
QUALITY = 90  # of the stored pictures, which are WebP
READY = "This is a finished example: press Run to make it yourself."
SHOWN_ANYWAY = {"page", "model", "__theme", "view"}  # a link with anything else has settings of its own


def save(view: RunView, weights: str, folder: Path = FOLDER) -> Path:
    """Write a run of a page's defaults to `folder`, with the weights that computed it."""
    pictures = [image.picture for image in view.output.images]
    extras = {name: _stored(value, pictures) for name, value in view.extras.items() if not isinstance(value, dict)}
    images = [
        {"webp": _webp(image.picture), "title": image.title, "caption": image.caption, "settings": image.settings}
        for image in view.output.images
    ]
    content = {
        "weights": weights,
        "sentence": view.sentence,
        "notes": view.notes,
        "numbers": view.numbers,
        "fields": view.output.fields,
        "images": images,
        "extras": extras,
        "columns": view.columns,
        "unfolded": view.unfolded,
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{view.output.page}.json"
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return path


def load(key: str, weights: str, folder: Path = FOLDER) -> RunView | None:
    """Return the finished example of a page, or None if there is none that these weights computed."""
    content = _content(folder / f"{key}.json")
    if content is None or content["weights"] != weights:
        return None
    images = tuple(
        OutputImage(_picture(image["webp"]), image["title"], image["caption"], settings=image["settings"])
        for image in content["images"]
    )
    extras = {name: _restored(value, images) for name, value in content["extras"].items()}
    return RunView(
        content["sentence"],
        tuple(content["notes"]),
        content["numbers"],
        RunOutput(key, images, content["fields"]),
        extras,
        content["columns"],
        content["unfolded"],
    )


@cache
def _content(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _webp(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=6)
    return base64.b64encode(buffer.getvalue()).decode()


def _picture(webp: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(webp))).convert("RGB")


def _stored(value: object, pictures: Sequence[Image.Image]) -> object:
    """Return HTML as it is, and a file as the row of the picture that it shows, or else as its bytes."""
    if isinstance(value, tuple):
        return [_stored(part, pictures) for part in value]
    path = Path(str(value))
    if len(str(value)) > 1000 or not path.is_file():
        return value
    if path.suffix == ".png":
        shown = Image.open(path).convert("RGB").tobytes()
        return {"row": next(k for k, picture in enumerate(pictures) if picture.tobytes() == shown)}
    return {"name": path.name, "bytes": base64.b64encode(path.read_bytes()).decode()}


def _restored(value: Any, images: Sequence[OutputImage]) -> object:
    if isinstance(value, list):
        return tuple(_restored(part, images) for part in value)
    if not isinstance(value, dict):
        return value
    if "row" in value:
        return outputs.file(images[value["row"]].picture)
    path = outputs.folder() / value["name"]
    path.write_bytes(base64.b64decode(value["bytes"]))
    return str(path)


def connect(page: Page, tab: gr.Tab, components: RunComponents) -> None:
    """Show the page's finished example when its tab is opened, unless a run or a link's settings came before."""
    if not (FOLDER / f"{page.key}.json").exists():
        return

    def show(run_output: RunOutput, request: gr.Request) -> Updates:
        lab, query = model_cache.current(), dict(request.query_params) if request else {}
        linked = query.get("page", "generate") == page.key and not set(query) <= SHOWN_ANYWAY
        view = None if run_output.page or linked or lab is None else load(page.key, lab.weights)
        if view is None:
            return {components.run_output: gr.skip()}
        status = markup.message(f"{view.sentence} {READY}", "example", view.notes)
        return result_update(page, view, status, components)

    shown = [
        components.status,
        components.drawer,
        components.numbers,
        components.run_output,
        components.gallery,
        components.more,
        *components.extras.values(),
    ]
    tab.select(show, components.run_output, shown, **QUIET)
