"""The pictures of the map: those of Emoji World that come with the app, or those of a file of `latentlab embed`."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .. import grammar, models
from ..analysis.layout import Layout, nearest
from ..errors import UserError
from ..experiments import Progress
from ..io import embeddings, images
from ..io.thumbnails import SIDE, Thumbnails
from . import model_cache, running

STATIC = Path(__file__).with_name("static")
ATLAS = Path(__file__).with_name("atlas")
MOST, BATCH = 4096, 64  # pictures of a file that are shown, and those encoded between two updates
_LAYOUTS: dict[tuple[str, str, Path], Layout] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class MapData:
    """The pictures of a map.

    Args:
        atlas: the file of their thumbnails.
        attributes: what they can be coloured by: name -> a value for each picture.
        colours: the colours of some values, as #rrggbb: attribute -> value -> colour.
        xy: (N, 2), their places, None to lay them out.
        z_i: (N, D) of the model whose weights are `weights`, None to encode the thumbnails.
        note: what the visitor should know about them.
    """

    thumbnails: Thumbnails
    atlas: Path
    captions: list[str]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    colours: dict[str, dict[str, str]] = field(default_factory=dict)
    xy: Tensor | None = None
    z_i: Tensor | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def for_browser(self, xy: Tensor, url: str) -> dict[str, object]:
        """Return what the browser needs to draw the map, with the pictures' places xy (N, 2)."""
        return {
            "columns": self.thumbnails.columns,
            "cell": SIDE,
            "atlas": url,
            "captions": self.captions,
            "attributes": self.attributes,
            "colours": self.colours,
            "xy": [[round(x, 4), round(y, 4)] for x, y in xy.tolist()],
        }


@cache
def load() -> MapData:
    """The pictures of the file that LATENTLAB_MAP names, or Emoji World's."""
    path = os.environ.get("LATENTLAB_MAP")
    return from_embeddings(Path(path), os.environ.get("LATENTLAB_MAP_PICTURES")) if path else emoji_world()


def emoji_world() -> MapData:
    about = json.loads((ATLAS / "map.json").read_text("utf-8"))
    atlas = Image.open(ATLAS / "atlas.webp").convert("RGB")
    thumbnails = Thumbnails(atlas, atlas.width // SIDE, len(about["captions"]))
    backgrounds = {name: "#{:02x}{:02x}{:02x}".format(*rgb) for name, rgb in grammar.COLOURS.items()}
    xy = torch.tensor(about["xy"])
    return MapData(
        thumbnails, ATLAS / "atlas.webp", about["captions"], about["attributes"], {"background": backgrounds}, xy
    )


def from_embeddings(path: Path, pictures: str | None = None) -> MapData:
    """Read a file of `latentlab embed`, and the pictures that it names below a folder, by default the file's own.

    A picture that is missing is a grey cell. Of more than MOST pictures the map shows some at equal distances.

    Raises:
        UserError: what `embeddings.read` refuses.
    """
    every = embeddings.read(path)
    rows = torch.linspace(0, len(every) - 1, min(len(every), MOST)).round().long().tolist()
    names = [every.names[k] for k in rows]
    folder, missing, thumbnails = Path(pictures) if pictures else path.parent, 0, []
    for name in names:
        try:
            thumbnails.append(images.square(images.open_image(folder / name), SIDE))
        except UserError:
            thumbnails.append(Image.new("RGB", (SIDE, SIDE), "gray"))
            missing += 1
    notes = [f"{len(rows)} of the {len(every)} pictures are shown"] * (len(rows) < len(every))
    notes += [f"{missing} pictures are not in {folder}: --pictures names their folder"] * bool(missing)
    cells = Thumbnails.of(thumbnails)
    atlas = Path(tempfile.mkdtemp(prefix="latentlab-map-")) / "atlas.webp"
    cells.atlas.save(atlas, "WEBP", quality=80)
    folders = [Path(name).parts[0] if len(Path(name).parts) > 1 else "" for name in names]
    attributes = {"folder": folders} if len(set(folders)) > 1 else {}
    z_i, metadata = every.z_i[rows], every.metadata
    return MapData(cells, atlas, names, attributes, z_i=z_i, metadata=metadata, note="; ".join(notes))


def served_paths() -> list[str]:
    """Return what the browser may read: the map's script and its atlas."""
    return [str(STATIC), str(load().atlas)]


def layout(model: str, data: MapData) -> Generator[Progress, None, Layout]:
    """`yield from` this: the progress of encoding; it returns the model's layout, which all visitors share.

    Raises:
        UserError: the file's embeddings are of another model.
    """
    lab = yield from model_cache.load_with_progress(model)
    key = (model, lab.weights, data.atlas)
    if key not in _LAYOUTS:
        z_i = _checked(data, lab) if data.z_i is not None else (yield from _encode(model, data.thumbnails))
        with _LOCK:
            _LAYOUTS[key] = Layout(z_i, data.xy) if data.xy is not None else Layout.fit(z_i)
    return _LAYOUTS[key]


def embed(model: str, data: MapData, xy: Tensor) -> Generator[Progress, None, Tensor]:
    """`yield from` this: as `Layout.embed` of the model's layout, embeddings (M, D) at places xy (M, 2).

    Where the places ship, only the pictures that count at these places are encoded.

    Raises:
        UserError: as `layout`.
    """
    lab = yield from model_cache.load_with_progress(model)
    if data.xy is None or data.z_i is not None or (model, lab.weights, data.atlas) in _LAYOUTS:
        return (yield from layout(model, data)).embed(xy)
    rows = nearest(data.xy, xy).unique()
    pixels = torch.cat([data.thumbnails.pixels(row, row + 1) for row in rows.tolist()])
    return Layout(running.encode_images(model, pixels), data.xy[rows]).embed(xy)


def _encode(model: str, thumbnails: Thumbnails) -> Generator[Progress, None, Tensor]:
    parts = []
    for start in range(0, thumbnails.count, BATCH):
        yield Progress("CLIP", start, thumbnails.count)
        parts.append(running.encode_images(model, thumbnails.pixels(start, start + BATCH)))
    return torch.cat(parts)


def _checked(data: MapData, lab: models.Lab) -> Tensor:
    assert data.z_i is not None
    width = lab.encoder.encode_image(torch.zeros(1, 3, SIDE, SIDE, device=lab.device)).shape[1]
    made_by = data.metadata.get("weights", lab.weights)
    if data.z_i.shape[1] != width or made_by != lab.weights:
        name = data.metadata.get("model", "another model")
        raise UserError(f"the map's embeddings are of {name}, not of {lab.name}: choose {name} at the top of the page")
    if data.metadata.get("normalised") == "yes":
        raise UserError(
            f"the map's embeddings are normalised: `latentlab embed FOLDER --model {lab.name}` keeps lengths"
        )
    return data.z_i
