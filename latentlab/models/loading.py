"""Load a lab by a name, from a folder or from a repository."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .registry import REGISTRY, HubSource, ModelSpec, spec

if TYPE_CHECKING:
    import torch

    from .lab import Lab


@contextmanager
def garbage_collection_deferred() -> Iterator[None]:
    """Defer garbage collection, which takes a sixth of the time of a first load and frees nothing that it imports."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def triton_hidden() -> Iterator[None]:
    """Hide triton from diffusers where no accelerator can use it: it takes 67 MB and a sixth of a first load.

    diffusers imports torch._dynamo, which imports triton wherever it is installed.
    """
    import torch

    if torch.accelerator.is_available() or "triton" in sys.modules:
        yield
        return
    sys.modules["triton"] = None  # type: ignore[assignment]  # an import of it now raises ModuleNotFoundError
    try:
        yield
    finally:
        sys.modules.pop("triton", None)


@triton_hidden()
@garbage_collection_deferred()
def load(
    name: str | Path = "emoji",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    offload: bool | None = None,
    family: str | None = None,
) -> Lab:
    """Load a lab by name or from a user's own checkpoint.

    Args:
        name: a registered model; or a folder, or OWNER/NAME or OWNER/NAME@REVISION on the hub, that holds any parts of
            a registered model, whose own repositories provide the other parts.  Or a CLIP alone, for experiments that
            need no decoder: open_clip's NAME:TAG, hf-hub:OWNER/NAME or a folder in its layout.
        device: by default a GPU if there is one, else the CPU.
        dtype: float16, bfloat16 or float32; by default float16 on a GPU and float32 elsewhere.
        offload: keep on the device only the network that is running; by default where the networks don't all fit.
        family: the registered model that a user's own checkpoint belongs to; a folder with model_index.json is
            recognised without it.

    Raises:
        UserError: the name or the device is unknown, weights are missing or damaged, or memory is too small.
    """
    from . import clip_only, precision

    device, dtype = precision.device(device), precision.dtype(dtype)
    if clip_only.is_encoder(str(name)) and family is None:
        if offload:
            raise UserError(f"{name} is one network, which stays on its device: leave out offload")
        return clip_only.lab(str(name), device=device, dtype=dtype)
    model, user_folder = resolve(str(name), family)
    module = import_module(model.module)
    if model.sources:
        return module.load(model.name, device=device, dtype=dtype, offload=offload, user_folder=user_folder)
    if not precision.is_single(dtype) or offload:
        raise UserError(
            f"{model.name} is small and computes in float32, all of it on one device: leave out dtype and offload"
        )
    return module.load(model.name, device=device)


def check(name: str, family: str | None = None) -> None:
    """Check that a name belongs to a model, a checkpoint or an encoder, without any slow import.

    Raises:
        UserError: there is no such model or no such family.
    """
    from . import clip_only

    if family is not None:
        spec(family)
    elif "/" not in name and not os.path.isdir(os.path.expanduser(name)) and not clip_only.is_encoder(name):
        spec(name)


def resolve(name: str, family: str | None) -> tuple[ModelSpec, Path | None]:
    """Find the registry's entry, and the folder of the user's own parts where there is one.

    Raises:
        UserError: the name is neither a model, a folder nor a repository, or its model can't be recognised.
    """
    from . import hub

    if name in REGISTRY and family in (None, name):
        return REGISTRY[name], None
    folder = Path(name).expanduser()
    is_folder = os.path.isdir(folder)  # False also where the name is too long for a file
    repo, _, revision = name.partition("@")
    on_hub = repo.count("/") == 1 and not name.startswith(("/", ".", "~"))
    if family is None:
        check(name)
    if name in REGISTRY and not is_folder:
        raise UserError(
            f"{name} is a model by itself: leave family (--family), or give a folder with parts of {family}"
        )
    if not is_folder and not on_hub:
        raise UserError(f"{name} is no folder, and no OWNER/NAME on the hub: give one of the two")
    family = family or hub.recognise(folder)
    model = spec(family) if family else None
    if model is None or not model.sources:
        names = ", ".join(other.name for other in REGISTRY.values() if other.sources)
        raise UserError(
            f"{name} is a checkpoint of {family or 'a family that it does not name'}: give family= (--family), one of "
            f"{names}"
        )
    if is_folder:
        return model, folder
    parts = tuple(part for source in model.sources for part in source.parts)
    return model, hub.fetch(HubSource(model.name, model.family, repo, revision or "main", parts, 0))


def fetch(name: str, family: str | None = None) -> list[Path]:
    """Download all files that a model is loaded from, except the cached ones, without loading it.

    Args:
        name, family: as for `load`.

    Returns:
        The folders in the hub's cache; an empty list for a model that comes with the library.

    Raises:
        UserError: there is no such model, or it can't be fetched.
    """
    from . import clip_only, hub

    if clip_only.is_encoder(name) and family is None:
        clip_only.encoder(name)  # open_clip fetches where it loads
        return []
    model, user_folder = resolve(name, family)
    return ([user_folder] if user_folder else []) + [hub.fetch(source) for source in model.sources]
