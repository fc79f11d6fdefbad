"""The check of an installation: packages, device, memory, weights, and how to repair what is wrong."""

from __future__ import annotations

import math
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from .. import __version__

PACKAGES = ("torch", "torchvision", "open_clip_torch", "diffusers", "transformers", "safetensors", "pillow", "gradio")
OPTIONAL = ("gradio",)
NEEDED_GIGABYTES = 1.5


class Diagnosis(TypedDict):
    """Facts about the installation by name, and a sentence for each problem."""

    facts: dict[str, str | int]
    problems: list[str]


def examine() -> Diagnosis:
    """Collect the facts about this installation, and the problems that keep the library from working."""
    facts: dict[str, str | int] = {"latentlab": __version__, "python": platform.python_version()}
    problems: list[str] = []
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
            if package not in OPTIONAL:
                problems.append(f"{package} is not installed: pip install -c constraints.txt -e .")
    try:
        import torch
        import torchvision  # noqa: F401  (the import itself is the check: a wheel of another build fails here)

        facts["device"] = f"cuda ({torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cpu"
        facts["threads"] = torch.get_num_threads()
    except (ImportError, RuntimeError) as error:
        problems.append(f"torch or torchvision fails to import ({error}): install both from the same place")
    if not problems:
        from ..models.emoji_files import verify, weights_folder

        facts["memory"] = _memory(problems)
        damage = verify()
        problems += damage
        facts["hub cache"] = _hub_cache()
        facts["embedded weights"] = "damaged" if damage else f"complete and finite, in {weights_folder()}"
    return {"facts": facts, "problems": problems}


def _hub_cache() -> str:
    """Return the folder of downloaded checkpoints, the registry's models in it, and whether the hub is offline."""
    from huggingface_hub import constants

    from ..models import REGISTRY, availability

    cached = [spec.name for spec in REGISTRY.values() if availability(spec)["cached"]]
    offline = ", offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    return f"{constants.HF_HUB_CACHE}: {', '.join(cached) or 'no model'} cached{offline}"


def _memory(problems: list[str]) -> str:
    """Return the free memory, including what the system frees on demand, like its cache of files."""
    import torch

    from ..models.offload import free_gigabytes

    free = free_gigabytes(torch.device("cpu"))
    if free < NEEDED_GIGABYTES:
        problems.append(f"{free:.1f} GB of memory are free, emoji needs {NEEDED_GIGABYTES} GB: close other programs")
    return f"{free:.1f} GB free" if math.isfinite(free) else "unknown"
