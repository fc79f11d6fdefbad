"""`python -m latentlab.training …`, with one command for every part."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import UserError
from .drawings import load_sprites
from .fits import dictionary, directions
from .icon_sets import HELD_OUT_STYLES, STYLES
from .options import Device, FromShipped, Resume, Scenes, console
from .parts import autoencoder, clip, dalle, decoder, dvae, judge, noised_clip, prior, upsampler
from .publishing import atlas, compare, confidence, factors, gallery, report, sheet, ship
from .things import things

app = typer.Typer(no_args_is_help=True, help="Train Emoji World's miniature part by part, in the order of this list.")


def data() -> None:
    """Fetch the drawings from npm and render them into the cache."""
    sprites = load_sprites()
    held_out = ", ".join(HELD_OUT_STYLES)
    print(f"{len(things())} things, {len(STYLES)} styles ({held_out} held out), {len(sprites.index)} sprites")


# The shares of the time that the parts get in `all`.
SHARES = {"clip": 0.24, "autoencoder": 0.12, "prior": 0.06, "decoder": 0.46, "upsampler": 0.06, "judge": 0.06}


def every_part(
    minutes: Annotated[float, typer.Option(help="The training time of all parts together, without encoding.")] = 9,
    resume: Resume = True,
    from_shipped: FromShipped = False,
    device: Device = "",
    scenes: Scenes = 32_000,
) -> None:
    """Train all parts one after another, each for its share of the time; on an accelerator this takes minutes."""

    session: dict[str, Any] = {"resume": resume, "from_shipped": from_shipped, "device": device}
    for part in (clip, autoencoder, prior, decoder, upsampler, judge):
        name = part.__name__
        options = session | ({"scenes": scenes} if name in ("prior", "decoder") else {})
        console.print(f"{name}: {minutes * SHARES[name]:.2g} minutes")
        part(minutes=minutes * SHARES[name], **options)
    directions(device=device, scenes=scenes)


PARTS = (clip, autoencoder, decoder, prior, upsampler, judge, noised_clip, dvae, dalle)
AFTERWARDS = (directions, dictionary, gallery, ship, confidence, sheet, report, compare, factors)
for command in (data, *PARTS):
    app.command()(command)
app.command("all")(every_part)
for command in AFTERWARDS:
    app.command()(command)
app.command("map")(atlas)


def main() -> None:
    try:
        app(standalone_mode=True)
    except (UserError, RuntimeError) as error:
        console.print(f"[bold red]error:[/] {error}")
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
