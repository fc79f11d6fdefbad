"""The app's map: pictures of Emoji World in one image, their captions, and their places."""

from __future__ import annotations

import json
import random
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from ..analysis.layout import Layout
from ..clip import Encoder
from ..io.atomic import atomic_write
from ..io.images import to_pil
from ..io.thumbnails import SIDE, Thumbnails
from .drawings import Sprites
from .rendering import Renderer
from .scenes import Scene, single
from .things import things

COUNT = 2048
COLUMNS = 64


def data_folder() -> Path:
    """The folder of the app's own map."""
    return Path(str(files("latentlab.app"))) / "atlas"


def draw(sprites: Sprites, folder: Path) -> None:
    """Draw COUNT scenes into `atlas.webp`, and write their captions into `map.json`."""
    scenes = [scene(sprites, k) for k in range(COUNT)]
    thumbnails = Thumbnails.of(to_pil(Renderer(sprites)(scenes, SIDE)), COLUMNS)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "atlas.webp") as part:
        thumbnails.atlas.save(part, "WEBP", quality=62, method=6)
    _write(folder, {"captions": [s.caption for s in scenes], "attributes": attributes(scenes)})


def scene(sprites: Sprites, k: int) -> Scene:
    """One thing, centred, with its background in the caption; each thing comes about equally often."""
    rng = random.Random(f"map {k}")
    return single(rng, sprites, things()[k % len(things())].name, centred=True, full=True)


def attributes(scenes: list[Scene]) -> dict[str, list[str]]:
    """What the map can be coloured by."""
    groups = {thing.name: thing.group for thing in things()}
    return {
        "thing": [groups[s.name] for s in scenes],
        "style": [s.facts["style"] for s in scenes],
        "background": [s.facts["colour"] for s in scenes],
    }


def lay_out(encoder: Encoder, folder: Path) -> int:
    """Give the pictures in the folder the places that the encoder's z_i have in a layout; return their number."""
    about = json.loads((folder / "map.json").read_text("utf-8"))
    thumbnails = Thumbnails(Image.open(folder / "atlas.webp"), COLUMNS, len(about["captions"]))
    layout = Layout.fit(encoder.encode_image(thumbnails.pixels(0, thumbnails.count)))
    _write(folder, {**about, "xy": [[round(v, 4) for v in row] for row in layout.xy.tolist()]})
    return thumbnails.count


def _write(folder: Path, about: dict[str, Any]) -> None:
    with atomic_write(folder / "map.json") as part:
        part.write_text(json.dumps(about, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
