"""The files of the embedded miniature: where they are, whether they are whole, and what they record of CLIP."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .registry import spec

MEND = "install latentlab again, or in a clone `git checkout -- latentlab/weights`"
CONFIDENCE = "confidence.json"  # from `python -m latentlab.training confidence`


def weights_folder() -> Path:
    """The folder of the miniature's weights, which comes with the package."""
    return spec("emoji").folder


def clip_digest(folder: Path) -> str:
    """The digest of CLIP's weights as the manifest records it."""
    digests = json.loads((folder / "MANIFEST.json").read_text("utf-8"))["sha256"]
    return next(value for name, value in digests.items() if name.startswith("clip/") and name.endswith(".safetensors"))


def sure_above(folder: Path) -> float | None:
    """The probability from which on CLIP's first label can be trusted; None where it was not measured for this CLIP."""
    path = folder / CONFIDENCE
    if not path.is_file():
        return None
    numbers = json.loads(path.read_text("utf-8"))
    return numbers["sure_above"] if numbers["clip"] == clip_digest(folder) else None


def verify(folder: Path | None = None) -> list[str]:
    """The problems of the shipped weights, one sentence for every file that is missing, damaged or not finite."""
    folder = folder or weights_folder()
    manifest = folder / "MANIFEST.json"
    if not manifest.is_file():
        return [f"{manifest} is missing: {MEND}"]
    try:
        listed = dict(json.loads(manifest.read_text("utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        return [f"{manifest} can't be read ({error!r}): {MEND}"]
    problems = []
    for name, wanted in listed.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path} is missing (expected sha256 {wanted}): {MEND}")
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != wanted:
            problems.append(f"{path} is damaged: expected sha256 {wanted}, found {digest}; {MEND}")
        elif path.suffix == ".safetensors":
            problems += _not_finite(path, digest)
    return problems


def _not_finite(path: Path, digest: str) -> list[str]:
    try:
        with safe_open(path, "pt") as file:
            bad = [key for key in file.keys() if not file.get_tensor(key).isfinite().all()]  # noqa: SIM118
    except SafetensorError as error:
        return [f"{path} can't be read ({error}); its sha256 is {digest}: {MEND}"]
    return [f"{path} holds values that are not finite in {bad[0]} (sha256 {digest}): {MEND}"] if bad else []
