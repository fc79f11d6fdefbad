"""The registered models, and the facts about a model that do not need its weights."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UserError

if TYPE_CHECKING:
    from ..analysis.dictionary import Dictionary
    from ..analysis.pca import Directions


class ConfigValue(NamedTuple):
    """A value in a JSON file of a checkpoint's folder; a text has to begin with the value."""

    file: str
    key: str
    value: str | int

    def is_in(self, folder: Path) -> bool:
        try:
            value = json.loads((folder / self.file).read_text("utf-8"))[self.key]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if isinstance(self.value, str):
            return isinstance(value, str) and value.startswith(self.value)
        return value == self.value


@dataclass(frozen=True)
class HubSource:
    """A repository on the hub that a model takes parts from.

    Args:
        role: "decoder", "prior" or "clip", for which the parts are used; for a user's repository, the model's name.
        layout: the family whose layout the repository has.
        repo: OWNER/NAME.
        revision: a commit, or "main" where the repository's commits could not be looked up when this was written.
        parts: the subfolders that are used; the first one identifies a copy of the repository.
        gigabytes: the size of the download.
        flat: the repository is one network, without subfolders.
    """

    role: str
    layout: str
    repo: str
    revision: str
    parts: tuple[str, ...]
    gigabytes: float
    flat: bool = False

    @property
    def name(self) -> str:
        return self.repo.rpartition("/")[2]


@dataclass(frozen=True)
class ModelSpec:
    """The description of a model, by which it is listed, recognised and loaded.

    Args:
        family: the name in this package, or the full dotted name, of the module that loads it.  Its `load(name, *,
            device)` returns the lab; with sources it also takes `dtype`, `offload` and `user_folder`.
        sources: the repositories of its parts; none for a model that comes with the library.
        parameters: the size of all networks together in billions.
        largest: the size of the largest network in billions.
        open_clip: open_clip's name and tag of the same CLIP; None where it does not offer it.
        signature: values by which a checkpoint's folder is recognised; the first one identifies the family's layout.
    """

    name: str
    family: str
    about: str
    clip: str
    licence: str
    sources: tuple[HubSource, ...] = ()
    parameters: float = 0.0
    largest: float = 0.0
    open_clip: tuple[str, str] | None = None
    signature: tuple[ConfigValue, ...] = ()

    @property
    def module(self) -> str:
        """The dotted name of the module that loads it."""
        return self.family if "." in self.family else f"{__package__}.{self.family}"

    def has_layout(self, folder: Path) -> bool:
        """Whether a folder has the layout in which this model's family is published."""
        return any(value.is_in(folder) for value in self.signature[:1])

    def recognises(self, folder: Path) -> bool:
        """Whether a folder's own files identify it as a checkpoint of this model."""
        return bool(self.signature) and all(value.is_in(folder) for value in self.signature)

    @property
    def folder(self) -> Path:
        """The weights and the gallery of an embedded model."""
        return Path(__file__).parent.parent / "weights" / self.name

    @property
    def megabytes(self) -> float:
        """The size of the weights on disk; 0 for a model without weights."""
        if self.sources:
            return round(1000 * sum(source.gigabytes for source in self.sources), 1)
        return round(sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()) / 2**20, 1)


PRECISIONS = {"float16": 2, "float32": 4}  # bytes a number
# The newest commits with safetensors, as the hub's own pages list them.
KARLO, LARGE = "5ee45298e0956749e621bcb30c799a0b599afa83", "32bd64288804d66eefd0ccbe215aa642df71cc41"
STABLE = (
    "unet",
    "vae",
    "image_encoder",
    "feature_extractor",
    "image_normalizer",
    "image_noising_scheduler",
    "scheduler",
    "text_encoder",
    "tokenizer",
)
KARLO_PRIOR = HubSource(
    "prior", "karlo", "kakaobrain/karlo-v1-alpha", KARLO, ("prior", "prior_scheduler", "text_encoder", "tokenizer"), 4.6
)
KANDINSKY_PRIOR = HubSource(
    "prior",
    "kandinsky",
    "kandinsky-community/kandinsky-2-2-prior",
    "40cd65123bb828e5641b118b77b38be1aee69891",
    ("prior", "scheduler", "image_encoder", "image_processor", "text_encoder", "tokenizer"),
    14.3,
)
NORMALIZER = ("image_normalizer/config.json", "embedding_dim")


def pipeline(name: str) -> ConfigValue:
    """The pipeline that a published folder's index names."""
    return ConfigValue("model_index.json", "_class_name", name)


OPENAI, RAIL = ("ViT-L-14-quickgelu", "openai"), "CreativeML OpenRAIL++-M"

REGISTRY = {
    model.name: model
    for model in (
        ModelSpec("emoji", "emoji", "the embedded miniature, trained on emoji", "own (64 px, 256-d)", "Apache-2.0"),
        ModelSpec("toy", "toy", "a Gaussian decoder with an exact formula for x_T", "own (closed form)", "Apache-2.0"),
        ModelSpec(
            "karlo", "karlo", "unCLIP in pixels, as in the paper: 64 px, then 256 px", "OpenAI ViT-L/14 (768-d)",
            "CreativeML OpenRAIL-M",
            (
                HubSource(
                    "decoder", "karlo", "kakaobrain/karlo-v1-alpha", KARLO,
                    ("decoder", "decoder_scheduler", "text_proj", "text_encoder", "tokenizer", "super_res_first",
                     "super_res_last", "super_res_scheduler"), 9.6,
                ),
                HubSource("prior", "karlo", "kakaobrain/karlo-v1-alpha", KARLO, ("prior", "prior_scheduler"), 4.1),
                # Karlo publishes its image tower as a pickle only; this is the repository that the tower comes from.
                HubSource("clip", "karlo", "openai/clip-vit-large-patch14", LARGE, ("image_encoder",), 1.7, flat=True),
            ),
            3.73, 1.02, OPENAI, (pipeline("UnCLIP"),),
        ),
        # Before kandinsky22, by whose signature its folders would be recognised, too. Its commit is not certain.
        ModelSpec(
            "kandinsky22-inpaint", "kandinsky", "kandinsky22 with a decoder that was trained to inpaint",
            "LAION ViT-bigG/14 (1280-d)", "Apache-2.0",
            (
                HubSource(
                    "decoder", "kandinsky", "kandinsky-community/kandinsky-2-2-decoder-inpaint", "main",
                    ("unet", "scheduler", "movq"), 5.3,
                ),
                KANDINSKY_PRIOR,
            ),
            4.89, 1.84, ("ViT-bigG-14", "laion2b_s39b_b160k"), (pipeline("KandinskyV22Inpaint"),),
        ),
        ModelSpec(
            "kandinsky22", "kandinsky", "latent unCLIP whose decoder takes no text, 512 px",
            "LAION ViT-bigG/14 (1280-d)", "Apache-2.0",
            (
                HubSource(
                    "decoder", "kandinsky", "kandinsky-community/kandinsky-2-2-decoder",
                    "d44c9d68c2f00918a802d8ccefc6d252a51b6b91", ("unet", "scheduler", "movq"), 5.3,
                ),
                KANDINSKY_PRIOR,
            ),
            4.89, 1.84, ("ViT-bigG-14", "laion2b_s39b_b160k"), (pipeline("KandinskyV22"),),
        ),
        # Stability removed its own repositories in November 2025, and the mirrors' commits could not be looked up.
        ModelSpec(
            "stable-unclip-h", "stable_unclip", "Stable Diffusion 2.1 conditioned on z_i, 768 px; no prior",
            "LAION ViT-H/14 (1024-d)", RAIL,
            (HubSource("decoder", "stable_unclip", "sd2-community/stable-diffusion-2-1-unclip", "main", STABLE, 7.7),),
            1.93, 0.87, ("ViT-H-14", "laion2b_s32b_b79k"),
            (pipeline("StableUnCLIP"), ConfigValue(*NORMALIZER, 1024)),
        ),
        ModelSpec(
            "stable-unclip-l", "stable_unclip", "the same on ViT-L/14, with Karlo's prior",
            "OpenAI ViT-L/14 (768-d)", RAIL,
            (
                HubSource(
                    "decoder", "stable_unclip", "sd2-community/stable-diffusion-2-1-unclip-small", "main", STABLE, 6.4
                ),
                KARLO_PRIOR,
            ),
            2.74, 1.02, OPENAI, (pipeline("StableUnCLIP"), ConfigValue(*NORMALIZER, 768)),
        ),
    )
}  # fmt: skip


def spec(name: str) -> ModelSpec:
    """The registry's entry.

    Raises:
        UserError: no model has that name.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"there is no model {name!r}: give one of {', '.join(REGISTRY)}{hint}")
    return REGISTRY[name]


def availability(model: ModelSpec) -> dict[str, Any]:
    """Whether a model is cached and fits into memory; this function does not use the network.

    Returns:
        cached: True, False, or None for a model that comes with the library; memory, least: gigabytes by precision, for
        all networks at once and for one at a time; turns: whether the networks have to take turns on this machine;
        why_not: the reason why the model can't be loaded, empty where it can be.
    """
    from . import hub, offload

    if not model.sources:
        return {"cached": None, "memory": {}, "least": {}, "turns": False, "why_not": ""}
    memory, least = (
        {name: round(count * size + offload.HEADROOM, 1) for name, size in PRECISIONS.items()}
        for count in (model.parameters, model.largest)
    )
    device, precision = offload.default_target()
    free = offload.free_gigabytes(device)
    too_large = least[precision] > free
    return {
        "cached": all(hub.cached(source) for source in model.sources),
        "memory": memory,
        "least": least,
        "turns": memory[precision] > free,
        "why_not": f"wants {least[precision]:.1f} GB of memory, {free:.1f} GB are free" if too_large else "",
    }


def listing() -> list[dict[str, Any]]:
    """Every model's description as plain values, with its `availability`."""
    fields = ("name", "family", "about", "clip", "licence", "megabytes", "parameters", "open_clip")
    return [
        {
            **{field: getattr(model, field) for field in fields},
            "repositories": list(dict.fromkeys(f"{source.repo}@{source.revision}" for source in model.sources)),
            **availability(model),
        }
        for model in REGISTRY.values()
    ]


def gallery(name: str) -> list[tuple[Path, str]]:
    """The sample pictures and captions that come with a model; an empty list for a model that has none."""
    folder = spec(name).folder / "gallery"
    listing = folder / "gallery.json"
    if not listing.is_file():
        return []
    return [(folder / file, caption) for file, caption in json.loads(listing.read_text("utf-8")).items()]


def directions(name: str) -> Directions | None:
    """The principal directions of z_i that come with a model, or None for a model that ships none."""
    from ..analysis.pca import Directions

    path = REGISTRY[name].folder / "directions" / "directions.safetensors" if name in REGISTRY else None
    return Directions.load(path) if path and path.is_file() else None


def dictionary(name: str) -> Dictionary | None:
    """The dictionary of features of z_i that comes with a model, or None for a model that ships none."""
    from ..analysis.dictionary import Dictionary

    path = REGISTRY[name].folder / "dictionary" / "dictionary.safetensors" if name in REGISTRY else None
    return Dictionary.load(path) if path and path.is_file() else None
