"""Make docs/showcase.png, the README's picture: eight captions, and eight pictures from their two latents."""

from pathlib import Path

import torch

import latentlab
from latentlab.io import images
from latentlab.plotting import rows

CAPTIONS = (
    "a red apple on a blue background",
    "a penguin on orange",
    "a glossy rocket on purple",
    "a cactus on white",
    "a castle on a green background",
    "a red cube above a blue ball",
    "a guitar on yellow",
    "a fox on a gray background",
)

lab = latentlab.load("emoji")
generated = [latentlab.generate(lab, caption, seeds=[3]).pixels for caption in CAPTIONS]
gallery = latentlab.models.gallery("emoji")[1:24:3]
originals = torch.cat([images.load(path, lab.upsampler.high) for path, _ in gallery])
reconstruction = latentlab.reconstruct(lab, originals)

figure = rows(
    {
        "generated": torch.cat(generated),
        "a picture": originals,
        "decoded from (z_i, x_T)": reconstruction.large,
        "from z_i, another x_T": reconstruction.large_from_z_i,
    },
    titles=CAPTIONS,
)
figure.savefig(Path(__file__).with_name("showcase.png"), dpi=110)
