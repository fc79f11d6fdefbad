"""Many artists' drawings of the same things, fetched from npm and rendered once into one array of sprites."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..grammar import COLOURS, SOLIDS

SIZE = 128  # sprites are square, premultiplied RGBA; the upsampler is trained on larger ones


class Style(NamedTuple):
    """One artist's set: its npm version, a word that captions may use for it (or none), its author and licence.

    A `monochrome` set is drawn in one ink, which each scene chooses.
    """

    version: str
    adjective: str
    author: str
    licence: str
    monochrome: bool = False


STYLES = {
    "noto": Style("1.2.9", "cartoon", "Google", "Apache-2.0"),
    "noto-v1": Style("1.2.5", "soft", "Google", "Apache-2.0"),
    "twemoji": Style("1.2.5", "flat", "Twitter and contributors", "CC BY 4.0"),
    "fluent-emoji": Style("1.2.7", "glossy", "Microsoft", "MIT"),
    "fluent-emoji-flat": Style("1.2.6", "plain", "Microsoft", "MIT"),
    "fxemoji": Style("1.2.2", "bold", "Mozilla", "Apache-2.0"),
    "emojione": Style("1.2.3", "classic", "EmojiOne / EmojiTwo", "CC BY 4.0"),
    "fluent-emoji-high-contrast": Style("1.2.6", "", "Microsoft", "MIT", monochrome=True),
    "streamline-emojis": Style("1.2.4", "", "Streamline", "CC BY 4.0"),
    "game-icons": Style("1.2.4", "", "GameIcons", "CC BY 3.0", monochrome=True),
    "icon-park": Style("1.2.4", "", "ByteDance", "Apache-2.0"),
    "mdi": Style("1.2.3", "", "Pictogrammers", "Apache-2.0", monochrome=True),
    "hugeicons": Style("1.2.35", "", "Hugeicons", "MIT", monochrome=True),
    "tabler": Style("1.2.41", "", "Paweł Kuna", "MIT", monochrome=True),
    "ph": Style("1.2.2", "", "Phosphor Icons", "MIT", monochrome=True),
    "lucide": Style("1.2.137", "", "Lucide Contributors", "ISC", monochrome=True),
    "mingcute": Style("1.2.8", "", "MingCute Design", "Apache-2.0", monochrome=True),
    "fa6-solid": Style("1.2.4", "", "Dave Gandy", "CC BY 4.0", monochrome=True),
}
# Sets of interface icons: they have names of their own for things, and the same drawing filled and in lines.
ICON_SETS = ("mdi", "hugeicons", "tabler", "ph", "lucide", "mingcute", "fa6-solid")
HELD_OUT_STYLES = ("emojione", "icon-park")  # no part of the miniature is ever trained on them
# The artists that the first edition was trained on; the report's first rows keep to them, so that they stay comparable.
FIRST_EDITION = ("noto", "noto-v1", "twemoji", "fluent-emoji", "fluent-emoji-flat", "fxemoji")
DRAWINGS = 3  # of a thing in one set, at most

# Drawings that show something else than their name says, as a look at all of them showed.
EXCLUDED = frozenset({
    "fxemoji/gamedie", "fxemoji/sunglasses",  # a domino; a face
    "streamline-emojis/maple-leaf",  # a hemp leaf
    "game-icons/pig-face", "game-icons/butterfly", "game-icons/clover", "game-icons/palm", "game-icons/bulb",
    "game-icons/volcano", "game-icons/spider-face",
    "icon-park/mouse", "icon-park/palm", "icon-park/anchor", "icon-park/chicken", "icon-park/cooking",
    "icon-park/trumpet", "icon-park/heart", "icon-park/computer",
    *(f"{style}/mouse" for style in ICON_SETS),  # of computers
    *(f"{style}/computer" for style in ICON_SETS),  # a screen
    *(f"{style}/bike" for style in ICON_SETS),  # with a rider
    *(f"{style}/scooter" for style in ("mdi", "tabler", "ph", "lucide", "mingcute")),  # without a motor
    *(f"{style}/diamond" for style in ("hugeicons", "ph", "lucide", "mingcute", "fa6-solid")),  # a rhombus
    *(f"{style}/school" for style in ("hugeicons", "lucide", "mingcute", "fa6-solid")),  # the building
    "mdi/bee", "mdi/food", "mdi/liquor", "mdi/bolt", "mdi/flash-triangle", "mdi/gamepad", "mdi/box", "mdi/gift",
    "mdi/mail", "mdi/globe-light", "mdi/archive", "hugeicons/bolt", "hugeicons/sunglasses", "tabler/robot-face",
    "lucide/bolt", "lucide/university", "mingcute/clock", "mingcute/tree", "mingcute/chicken", "mingcute/wine",
    "fa6-solid/tree",
})  # fmt: skip

# fxemoji writes names without dashes and has its own words for some things.
FXEMOJI = {
    "cat-face": "cat", "mouse-face": "mouse", "tiger-face": "tiger", "panda": "pandaface", "wolf": "wolfface",
    "spouting-whale": "spurtingwhale", "camel": "bactriancamel", "evergreen-tree": "evergreen", "pizza": "sliceofpizza",
    "castle": "europeancastle", "house": "housebuilding", "locomotive": "steamlocomotive",
    "hourglass-done": "hourglass", "globe-showing-americas": "americasglobe", "tennis": "tennisball",
    "gem-stone": "gem", "mobile-phone": "cellphone",
    "laptop": "personalcomputer", "scissors": "blackscissors", "locked": "lock", "dagger": "daggerknife",
    "smiling-face-with-heart-eyes": "hearteyes", "angry-face": "angry", "loudly-crying-face": "loudlycrying",
    "sleeping-face": "sleeping", "pile-of-poo": "poo", "hot-pepper": "chilipepper",
}  # fmt: skip

# What sets of interface icons call things.
ICON_NAMES = {
    "red-apple": "apple food-apple", "gem-stone": "diamond diamond-stone",
    "hot-beverage": "coffee mug-hot mug-saucer tea", "airplane": "plane", "light-bulb": "lightbulb idea",
    "mobile-phone": "smartphone mobile device-mobile cellphone",
    "gear": "settings cog gear-six", "sun-with-face": "weather-sunny",
    "high-voltage": "bolt lightning lightning-bolt flash",
    "graduation-cap": "school", "video-game": "device-gamepad game-controller controller",
    "globe-showing-americas": "world", "droplet": "drop", "tropical-fish": "fish", "game-die": "dice-five",
    "soft-ice-cream": "ice-cream ice-cream-cone", "wine-glass": "wine glass-wine glass-full wineglass",
    "red-heart": "heart cards-heart", "dog-face": "dog-side", "rabbit-face": "rabbit-variant",
    "grapes": "fruit-grapes", "cherries": "cherry fruit-cherries", "pineapple": "fruit-pineapple",
    "watermelon": "fruit-watermelon", "lemon": "fruit-citrus citrus", "hot-pepper": "pepper chili-mild chili-hot",
    "cooking": "egg-fried fried-egg", "croissant": "food-croissant", "hot-dog": "food-hot-dog", "pizza": "pizza-slice",
    "shortcake": "cake-slice", "birthday-cake": "cake cake-candles", "beer-mug": "beer-stein beer-mug-empty",
    "tulip": "flower-tulip", "maple-leaf": "leaf-maple", "evergreen-tree": "tree-evergreen", "palm-tree": "tree-palm",
    "fire-engine": "firetruck", "motor-scooter": "moped", "sailboat": "sail-boat", "alarm-clock": "alarm",
    "hourglass-done": "hourglass-high timer-sand", "jack-o-lantern": "halloween", "soccer-ball": "soccer ball-football",
    "american-football": "ball-american-football", "tennis": "ball-tennis", "pool-8-ball": "billiards",
    "t-shirt": "tshirt-crew", "running-shoe": "shoe-sneaker shoe", "high-heeled-shoe": "shoe-heel",
    "money-bag": "moneybag sack-dollar", "envelope": "mail email", "scissors": "content-cut",
    "dagger": "knife-military",
    "pill": "pills", "grinning-face": "happy emoticon-happy mood-smile face-smile",
    "face-with-tears-of-joy": "face-laugh-beam", "smiling-face-with-sunglasses": "emoticon-cool",
    "angry-face": "angry emoticon-angry mood-angry face-angry smiley-angry",
    "loudly-crying-face": "emoticon-cry mood-cry face-sad-tear", "pile-of-poo": "emoticon-poop",
    "broken-heart": "heart-break heart-crack heartbreak",
}  # fmt: skip

EXTRA_WORDS = ("stop", "hello", "ipod", "clip", "deep", "learning", "love", "open", "sale", "go", "yes", "no")


@dataclass(frozen=True)
class Thing:
    """One line of things.txt: the drawing's name, its group, and its noun phrases, articles included."""

    name: str
    group: str
    phrases: tuple[str, ...]


@cache
def things() -> tuple[Thing, ...]:
    found, group = [], ""
    for line in files(__package__).joinpath("things.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif line and not line.startswith("#"):
            name, phrases = line.split(": ", 1)
            found.append(Thing(name, group, tuple(phrases.split(", "))))
    return tuple(found)


@cache
def sign_words() -> tuple[str, ...]:
    """The words that stand on signs and labels: the things' own short names, and a few more."""
    names = {t.phrases[0].split(" ", 1)[1] for t in things()}
    return tuple(sorted({n for n in names if " " not in n and len(n) <= 8} | set(EXTRA_WORDS)))


def cache_dir() -> Path:
    """`$LATENTLAB_CACHE`, or latentlab's folder in the user's cache."""
    root = os.environ.get("LATENTLAB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "latentlab"
    return Path(root).expanduser()


def fetch(folder: Path) -> None:
    """Bring the artists' npm packages into `folder`, one JSON of SVG bodies each.

    Raises:
        RuntimeError: npm is missing or a package can't be had.
    """
    if shutil.which("npm") is None:
        raise RuntimeError("the drawings come from npm, which is not installed: install Node.js, then run `data` again")
    folder.mkdir(parents=True, exist_ok=True)
    for style, (version, *_) in STYLES.items():
        target = folder / f"{style}.json"
        if target.exists():
            continue
        done = subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", str(folder), f"@iconify-json/{style}@{version}"],
            capture_output=True, text=True, cwd=folder, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"npm could not fetch @iconify-json/{style}@{version}: {done.stderr.strip()[-300:]}")
        archive = folder / f"iconify-json-{style}-{version}.tgz"
        with tarfile.open(archive) as tar:
            body = tar.extractfile("package/icons.json").read()
        part = target.with_suffix(".part")
        part.write_bytes(body)
        os.replace(part, target)
        archive.unlink()


def _icon(icons: dict, name: str) -> str:
    """The name of the icon that a name stands for, aliases followed."""
    while name not in icons["icons"]:
        name = icons["aliases"][name]["parent"]
    return name


def _svg(icons: dict, name: str) -> str:
    """One iconify icon as an SVG document."""
    icon = icons["icons"][name]
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
    )


def _plain(name: str) -> str:
    """An icon's name without what tells its filled and numbered variants apart."""
    return re.sub(r"(-(fill|filled|duotone|outline|line|solid))?(-?\d+)?$", "", name)


def _bare(name: str) -> str:
    """A name without dashes, spaces and trailing digits, by which a set's drawings are looked up."""
    return re.sub(r"[- ]|-?\d+$", "", name)


def _matches(icons: dict, style: str, thing: Thing) -> dict[str, str]:
    """The keys of a thing's drawings in a set and the icons that they name: its own name's first, then its phrases'.

    A set of the first edition keeps its drawings' keys: what only a phrase finds comes second there.
    """
    known: dict[str, list[str]] = {}
    for name in [*icons["icons"], *icons.get("aliases", {})]:
        known.setdefault(_bare(_plain(name) if style in ICON_SETS else name), []).append(name)

    def named(*words: str) -> list[str]:
        icon_names = [_icon(icons, name) for word in words for name in known.get(_bare(word), [])]
        excluded = {name for name in icon_names if EXCLUDED & {f"{style}/{name}", f"{style}/{_plain(name)}"}}
        return [name for name in dict.fromkeys(icon_names) if name not in excluded]

    own = named(FXEMOJI.get(thing.name, thing.name) if style == "fxemoji" else thing.name)
    nouns = [phrase.removeprefix("a ").removeprefix("an ").removeprefix("some ") for phrase in thing.phrases]
    others = [*nouns, thing.name.removesuffix("-face") + "-face"]
    if style in ICON_SETS:
        others += ICON_NAMES.get(thing.name, "").split()
    both = list(dict.fromkeys([*own, *named(*others)]))
    first = 2 if style in (*FIRST_EDITION, "emojione") and not own else 1
    keys = [f"{style}/{thing.name}" + (f"/{k}" if k > 1 else "") for k in range(first, DRAWINGS + 1)]
    if style in HELD_OUT_STYLES:  # one drawing each
        keys = keys[: 2 - first]
    return dict(zip(keys, both))


def _rasterize(svg: str, size: int) -> Image.Image:
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    return ImageOps.pad(Image.open(io.BytesIO(png)).convert("RGBA"), (size, size), color=(0, 0, 0, 0))


def _enclosed(image: Image.Image) -> Image.Image:
    """A drawing in one ink: its red channel says what its lines enclose, which a scene may fill."""
    from scipy.ndimage import binary_fill_holes

    alpha = np.asarray(image)[..., 3]
    inside = np.where(binary_fill_holes(alpha > 100), 255, alpha).astype(np.uint8)
    return Image.fromarray(np.stack([inside, alpha, alpha, alpha], -1))


def _solid(shape: str, rgb: tuple[int, int, int], size: int) -> Image.Image:
    """A shaded solid, drawn so that its colour is the colour's name and its outline the shape's."""

    def shade(k: float) -> str:
        return "#" + "".join(f"{int(max(0, min(255, c * k + (25 if k > 1 else 0)))):02x}" for c in rgb)

    if shape == "cube":
        body = (
            f'<path d="M64 10 114 34 64 60 14 34Z" fill="{shade(1.15)}"/>'
            f'<path d="M14 34 64 60V118L14 92Z" fill="{shade(0.9)}"/>'
            f'<path d="M114 34 64 60V118L114 92Z" fill="{shade(0.65)}"/>'
        )
    elif shape == "ball":
        body = (
            f'<defs><radialGradient id="g" cx=".35" cy=".3" r=".8"><stop offset="0" stop-color="{shade(1.3)}"/>'
            f'<stop offset=".5" stop-color="{shade(1)}"/><stop offset="1" stop-color="{shade(0.55)}"/></radialGradient>'
            '</defs><circle cx="64" cy="64" r="54" fill="url(#g)"/>'
        )
    elif shape == "cone":
        body = (
            f'<defs><linearGradient id="g"><stop offset="0" stop-color="{shade(0.75)}"/><stop offset=".35" '
            f'stop-color="{shade(1.2)}"/><stop offset="1" stop-color="{shade(0.55)}"/></linearGradient></defs>'
            '<path d="M64 8 116 102Q64 136 12 102Z" fill="url(#g)"/>'
        )
    else:
        tips = [(64 + r * np.sin(a), 68 - r * np.cos(a)) for a, r in zip(np.arange(10) * np.pi / 5, [58, 25] * 5)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in tips)
        edge = f'stroke="{shade(0.7)}" stroke-width="5" stroke-linejoin="round"'
        body = f'<polygon points="{points}" fill="{shade(1)}" {edge}/>'
    return _rasterize(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128">{body}</svg>', size)


def paper(word: str, size: int = SIZE, *, post: bool) -> Image.Image:
    """A word in black on paper, as a sign on a post or as a label: (size, size) RGBA."""
    image = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(image)
    if post:
        draw.rectangle((118, 150, 138, 256), fill=(125, 85, 55, 255))
        box = (6, 34, 250, 160)
    else:
        box = (6, 70, 250, 186)
    draw.rounded_rectangle(box, 10, fill=(253, 250, 238, 255), outline=(90, 85, 80, 255), width=5)
    points = 90
    while (font := ImageFont.load_default(points)).getlength(word) > 222:
        points -= 2
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), word, (15, 15, 20, 255), font, anchor="mm")
    return image.resize((size, size), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Sprites:
    """Every drawing of the world: pixels (N, 4, size, size) uint8, premultiplied; `index` maps a key to its row.

    The red channel of a drawing in one ink is not a colour but what its lines enclose.
    """

    pixels: np.ndarray
    index: dict[str, int]

    def drawings_of(self, style: str, thing: str) -> list[str]:
        """The keys of an artist's drawings of a thing."""
        keys = (f"{style}/{thing}", *(f"{style}/{thing}/{k}" for k in range(2, DRAWINGS + 1)))
        return [key for key in keys if key in self.index]

    def styles_of(self, thing: str, *, held_out: bool = False) -> list[str]:
        """The artists who drew a thing: those that are trained on, or those held out."""
        return [s for s in STYLES if (s in HELD_OUT_STYLES) == held_out and self.drawings_of(s, thing)]

    def first_edition(self) -> Sprites:
        """The same sprites without the artists and second drawings that came after the first edition."""
        later = set(STYLES) - {*FIRST_EDITION, "emojione"}
        old = {k: row for k, row in self.index.items() if k.split("/")[0] not in later and k[-2:] not in ("/2", "/3")}
        return Sprites(self.pixels, old)


def _draw_all(folder: Path, size: int) -> Iterator[tuple[str, Image.Image]]:
    for style in STYLES:
        icons = json.loads((folder / f"{style}.json").read_text("utf-8"))
        for thing in things():
            for key, name in _matches(icons, style, thing).items():
                image = _rasterize(_svg(icons, name), size)
                yield key, _enclosed(image) if STYLES[style].monochrome else image
    for shape in SOLIDS:
        for colour, rgb in COLOURS.items():
            yield f"solid/{colour}/{shape}", _solid(shape, rgb, size)
    for word in sign_words():
        yield f"sign/{word}", paper(word, size, post=True)
        yield f"label/{word}", paper(word, size, post=False)


def _premultiplied(image: Image.Image) -> np.ndarray:
    rgba = np.asarray(image, np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    return rgba.round().astype(np.uint8).transpose(2, 0, 1)


def load_sprites(folder: Path | None = None, *, size: int = SIZE) -> Sprites:
    """The rendered world, from the cache, or drawn into it on the first call (a minute or more)."""
    folder = folder or cache_dir() / "drawings"
    source = Path(__file__).read_bytes() + files(__package__).joinpath("things.txt").read_bytes()
    source += repr((COLOURS, SOLIDS)).encode() + (b"" if size == SIZE else str(size).encode())
    stem = folder / f"sprites-{hashlib.sha256(source).hexdigest()[:12]}"
    if not stem.with_suffix(".json").exists():
        fetch(folder)
        keys, pixels = [], []
        for key, image in _draw_all(folder, size):
            keys.append(key)
            monochrome = key.split("/")[0] in STYLES and STYLES[key.split("/")[0]].monochrome
            pixels.append(np.asarray(image).transpose(2, 0, 1) if monochrome else _premultiplied(image))
        np.save(stem.with_suffix(".part.npy"), np.stack(pixels))
        os.replace(stem.with_suffix(".part.npy"), stem.with_suffix(".npy"))
        stem.with_suffix(".json").write_text(json.dumps(keys))
    keys = json.loads(stem.with_suffix(".json").read_text())
    return Sprites(np.load(stem.with_suffix(".npy"), mmap_mode="r"), {k: i for i, k in enumerate(keys)})
