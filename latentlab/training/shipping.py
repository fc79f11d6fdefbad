"""The miniature's folder in the package: its gallery, its weights and its manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from ..models.emoji import weights_folder
from .drawings import Sprites
from .exports import run_folder

PARTS = ("clip", "autoencoder", "prior", "decoder", "upsampler", "directions", "judge")


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


def copy_exports() -> dict[str, str]:
    """Copy every part's newest export into the package and write MANIFEST.json; return the files' digests."""
    target, log = weights_folder(), {}
    for part in PARTS:
        source = run_folder(part) / "export"
        if source.is_dir():
            shutil.copytree(source, target / part, dirs_exist_ok=True)
        entries = run_folder(part) / "log.jsonl"
        if entries.exists() and (lines := entries.read_text().splitlines()):
            log[part] = json.loads(lines[-1])
    digests = {
        str(path.relative_to(target)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(target.rglob("*"))
        if path.is_file() and path.parent != target
    }
    manifest = target / "MANIFEST.json"
    trained = {**(json.loads(manifest.read_text())["trained"] if manifest.exists() else {}), **log}
    manifest.write_text(json.dumps({"trained": trained, "sha256": digests}, indent=1) + "\n")
    return digests
