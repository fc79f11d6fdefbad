"""What this machine has, whether the embedded weights are whole, and how to mend what is not."""

from __future__ import annotations

import math
import platform
from importlib.metadata import PackageNotFoundError, version

from .. import __version__

PACKAGES = ("torch", "torchvision", "open_clip_torch", "diffusers", "transformers", "safetensors", "pillow", "gradio")
OPTIONAL = ("gradio",)
NEEDED_GIGABYTES = 1.5


def examine() -> dict:
    """Facts by name, and a sentence for each thing that is wrong: `{"facts": {…}, "problems": […]}`."""
    facts, problems = {"latentlab": __version__, "python": platform.python_version()}, []
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
        from ..models.emoji import verify, weights_folder

        facts["memory"] = _memory(problems)
        damage = verify()
        problems += damage
        facts["hub cache"] = _hub()
        facts["embedded weights"] = "damaged" if damage else f"whole and finite, in {weights_folder()}"
    return {"facts": facts, "problems": problems}


def _hub() -> str:
    """Where downloaded checkpoints lie, how many of the registry's are there, and whether the network is barred."""
    from huggingface_hub import constants

    from ..models import REGISTRY, availability

    cached = [row.name for row in REGISTRY.values() if availability(row)["cached"]]
    barred = ", offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    return f"{constants.HF_HUB_CACHE}: {', '.join(cached) or 'no model'} cached{barred}"


def _memory(problems: list[str]) -> str:
    """What is free, with what the system would give back when asked, like its cache of files."""
    import torch

    from ..models.offload import free_gigabytes

    free = free_gigabytes(torch.device("cpu"))
    if free < NEEDED_GIGABYTES:
        problems.append(f"{free:.1f} GB of memory are free, emoji wants {NEEDED_GIGABYTES} GB: close something")
    return f"{free:.1f} GB free" if math.isfinite(free) else "unknown"
