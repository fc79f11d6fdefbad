"""The miniature's folder in the package: its gallery, its weights and its manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..io.atomic import open_tensors, read_json
from ..models.emoji_files import weights_folder
from .drawings import Sprites
from .exports import export_or_none, run_folder

PARTS = (
    "clip",
    "autoencoder",
    "prior",
    "decoder",
    "upsampler",
    "directions",
    "dictionary",
    "judge",
    "noised-clip",
    "inpainting",
    "dvae",
    "dalle",
    "autoregressive-prior",
)


def draw_gallery(sprites: Sprites, folder: Path) -> int:
    """Draw the sample pictures at 128 pixels and list their captions in gallery.json; return their number."""
    from ..io.images import save_png, to_pil
    from .curriculum import gallery_scenes
    from .rendering import Renderer

    folder.mkdir(parents=True, exist_ok=True)
    scenes = gallery_scenes(sprites)
    captions = {}
    for k, (scene, picture) in enumerate(zip(scenes, to_pil(Renderer(sprites)(scenes, 128)))):
        name = f"{k:02d}-{scene.thing or scene.kind}.png"
        save_png(picture, folder / name, {"caption": scene.caption, "drawing": scene.layers[0].key})
        captions[name] = scene.caption
    (folder / "gallery.json").write_text(json.dumps(captions, indent=1, ensure_ascii=False) + "\n")
    return len(captions)


def check_export(part: str) -> None:
    """Refuse a part's export of which a file is not whole.

    Raises:
        UserError: a safetensors file or a JSON file is truncated or damaged.
    """
    again = f"`python -m latentlab.training {part}` exports it again"
    for path in sorted((run_folder(part) / "export").rglob("*")):
        if path.suffix == ".safetensors":
            with open_tensors(path, kind=f"part {part}", hint=again):
                continue
        if path.suffix == ".json":
            read_json(path, again)


def check_inpainting() -> None:
    """Refuse a decoder fine-tuned to inpaint that was trained from another decoder than the one that will ship.

    Raises:
        UserError: they do not belong together.
    """
    from ..models import inpainter

    tuned, decoder = export_or_none("inpainting"), export_or_none("decoder")
    if tuned is None or decoder is None:
        return
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
    from torch import float32

    inpainter.load_delta(tuned, SD3Transformer2DModel.from_pretrained(decoder, torch_dtype=float32))


def last_entry(part: str) -> dict[str, Any]:
    """The newest line of a part's log; empty where there is none.

    Raises:
        UserError: the line is not whole.
    """
    path = run_folder(part) / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        return json.loads(lines[-1]) if lines else {}
    except ValueError as error:
        raise UserError(f"the last line of {path} is not whole ({error}): remove that line") from error


def copy_exports() -> dict[str, str]:
    """Copy every part's newest export into the package and write MANIFEST.json; return the files' digests.

    Raises:
        UserError: a file of an export or the last line of a log is not whole, or the fine-tuned decoder does not
            belong to the decoder; nothing is copied then.
    """
    target, log = weights_folder(), {}
    for part in PARTS:
        check_export(part)
        if entry := last_entry(part):
            log[part] = entry
    check_inpainting()
    for part in PARTS:
        source = run_folder(part) / "export"
        if source.is_dir():
            shutil.copytree(source, target / part, dirs_exist_ok=True)
    digests = {
        str(path.relative_to(target)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(target.rglob("*"))
        if path.is_file() and path.parent != target
    }
    manifest = target / "MANIFEST.json"
    trained = {**(json.loads(manifest.read_text())["trained"] if manifest.exists() else {}), **log}
    manifest.write_text(json.dumps({"trained": trained, "sha256": digests}, indent=1) + "\n")
    return digests
