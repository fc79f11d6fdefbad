"""The pages: each module describes one as a `Page`."""

from . import attack, binding, clip, diff, generate, interpolate, pca, prior, reconstruct, variations

PAGES = (
    generate.PAGE,
    reconstruct.PAGE,
    variations.PAGE,
    interpolate.PAGE,
    diff.PAGE,
    pca.PAGE,
    attack.PAGE,
    prior.PAGE,
    binding.PAGE,
    clip.PAGE,
)
