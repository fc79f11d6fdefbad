"""Many artists' drawings of the same things: the icon sets on npm, and the icons in them that show a thing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

from .things import Thing

Icons = dict[str, Any]  # iconify's JSON of one set


class Style(NamedTuple):
    """One artist's set: its npm version, a word that captions may use for it (or none), its author and licence.

    A `monochrome` set is drawn in one ink, whose colour a scene chooses.
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
# Sets of interface icons have their own names for things, and draw the same icon both filled and in lines.
ICON_SETS = ("mdi", "hugeicons", "tabler", "ph", "lucide", "mingcute", "fa6-solid")
HELD_OUT_STYLES = ("emojione", "icon-park")  # no part of the miniature is ever trained on them
# The first edition was trained on these artists; the report's first rows use them, so that editions can be compared.
FIRST_EDITION = ("noto", "noto-v1", "twemoji", "fluent-emoji", "fluent-emoji-flat", "fxemoji")
DRAWINGS = 3  # the largest number of a thing's drawings in one set

# Drawings that show something else than their names say.
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
    "fa6-solid/tree", "hugeicons/alien-02", "hugeicons/star-face", "lucide/settings-2",
    "mingcute/baseball-2", "mingcute/clock-2", "mingcute/palette", "mingcute/palette-2", "mingcute/palette-3",
    "mingcute/settings-2", "mingcute/sun-2",
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

# The names that sets of interface icons use for things.
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


def fetch(folder: Path) -> None:
    """Download the artists' npm packages into a folder, as one JSON file of SVG bodies for every set.

    Raises:
        RuntimeError: npm is missing, or it can't fetch a package.
    """
    if shutil.which("npm") is None:
        raise RuntimeError("the drawings come from npm, which is not installed: install Node.js, then run `data` again")
    folder.mkdir(parents=True, exist_ok=True)
    for style, (version, *_) in STYLES.items():
        target = folder / f"{style}.json"
        if target.exists():
            continue
        package = f"@iconify-json/{style}@{version}"
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
        process = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if process.returncode:
            raise RuntimeError(f"npm could not fetch {package}: {process.stderr.strip()[-300:]}")
        archive = folder / f"iconify-json-{style}-{version}.tgz"
        with tarfile.open(archive) as tar:
            body = tar.extractfile("package/icons.json")
            if body is None:
                raise RuntimeError(f"{package} has no file icons.json")
            part = target.with_suffix(".part")
            part.write_bytes(body.read())
        os.replace(part, target)
        archive.unlink()


def _icon(icons: Icons, name: str) -> str:
    """The name of the icon that an alias stands for; the name of an icon stays."""
    while name not in icons["icons"]:
        name = icons["aliases"][name]["parent"]
    return name


def to_svg(icons: Icons, name: str) -> str:
    """One icon of a set as an SVG document."""
    icon = icons["icons"][name]
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
    )


def _plain(name: str) -> str:
    """An icon's name without the endings of its filled and numbered variants."""
    return re.sub(r"(-(fill|filled|duotone|outline|line|solid))?(-?\d+)?$", "", name)


def _bare(name: str) -> str:
    """A name without dashes, spaces and trailing digits, by which icons are looked up."""
    return re.sub(r"[- ]|-?\d+$", "", name)


def find_icons(icons: Icons, style: str, thing: Thing) -> dict[str, str]:
    """The icons of a thing in a set, by the keys of their drawings: those of its name first, then of its phrases.

    The drawings in sets of the first edition keep their keys: an icon that only a phrase finds has the second key.
    """
    names: dict[str, list[str]] = {}
    for name in [*icons["icons"], *icons.get("aliases", {})]:
        names.setdefault(_bare(_plain(name) if style in ICON_SETS else name), []).append(name)

    def named(*words: str) -> list[str]:
        icon_names = [_icon(icons, name) for word in words for name in names.get(_bare(word), [])]
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
    if style in HELD_OUT_STYLES:  # which keep one drawing of every thing
        keys = keys[: 2 - first]
    return dict(zip(keys, both))
