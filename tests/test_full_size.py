"""Every family at full size, without weights: published sizes, shapes from part to part, and the registry's numbers.

Networks are built on the meta device by the families' own `load`, so no shape is written down twice.
"""

from importlib import import_module

import checkpoints
import pytest
import torch

from latentlab import models, upsampling
from latentlab.diffusion import CLEAN, Conditioning, abar_at, ddim_step
from latentlab.models.offload import HEADROOM

FAMILIES = [row.name for row in models.REGISTRY.values() if row.sources]
META = torch.device("meta")
# Gigabytes of the safetensors files as the hub lists them.
LISTED = {
    ("karlo-v1-alpha", "decoder"): 3.54,
    ("karlo-v1-alpha", "prior"): 4.09,
    ("karlo-v1-alpha", "text_proj"): 0.0315,
    ("karlo-v1-alpha", "super_res_first"): 2.77,
    ("karlo-v1-alpha", "super_res_last"): 2.77,
    ("clip-vit-large-patch14", "."): 1.71,
    ("kandinsky-2-2-decoder", "unet"): 5.01,
    ("kandinsky-2-2-decoder-inpaint", "unet"): 5.01,
    ("stable-diffusion-2-1-unclip-small", "unet"): 3.48,
    ("stable-diffusion-2-1-unclip", "text_encoder"): 1.36,
}
SHAPES = {  # z_i's width, x_T, the decoder's pixels, the caption as the decoder reads it
    "karlo": (768, (3, 64, 64), 64, (78, 769)),
    "kandinsky22": (1280, (4, 64, 64), 512, None),
    "kandinsky22-inpaint": (1280, (4, 64, 64), 512, None),
    "stable-unclip-h": (1024, (4, 96, 96), 768, (77, 1024)),
    "stable-unclip-l": (768, (4, 96, 96), 768, (77, 1024)),
}


def shapes(name):
    assert name in SHAPES, f"{name} has no line in SHAPES: add one with the values that the comment there names"
    return SHAPES[name]


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Labs at full size by name, each with the parameters of all its networks and of the largest."""
    labs, words = {}, tmp_path_factory.mktemp("full") / "tokenizer"
    checkpoints.write_tokenizer(words, "<|endoftext|>")

    def build(name):
        if name not in labs:
            module = import_module(f"latentlab.models.{models.spec(name).family}")
            unread_checkpoints = []

            def unread(*args, **options):
                unread_checkpoints.append(checkpoints.Unread(*args, **options, tiny=False, tokenizer=words))
                return unread_checkpoints[0]

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "Checkpoint", unread)
                whole = module.load(name, device=META)
                sizes = [count(network) for network in unread_checkpoints[0].networks]
                labs[name] = whole, sum(sizes), max(sizes)
        return labs[name]

    return build


@pytest.mark.parametrize(("repository", "part"), checkpoints.JSON_SIZES)
def test_a_config_has_to_the_byte_the_size_that_the_hub_lists(repository, part):
    assert len(checkpoints.published(repository, part)) == checkpoints.JSON_SIZES[repository, part]


def test_stable_unclips_unet_config_has_the_1_32_kB_that_the_hub_lists():
    assert round(len(checkpoints.published("stable-diffusion-2-1-unclip", "unet")) / 1000, 2) == 1.32


@pytest.mark.parametrize(("repository", "part"), LISTED)
def test_a_config_makes_a_file_of_the_size_that_the_hub_lists(repository, part):
    configs = {name: (kind, config) for name, kind, config in checkpoints.parts(repository, tiny=False)}
    with META:
        network = checkpoints.build(*configs[part])
    assert count(network) * 4 / 1e9 == pytest.approx(LISTED[repository, part], rel=0.006)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_registry_states_the_parameters_and_the_download(lab, name):
    row, (_, parameters, largest) = models.spec(name), lab(name)
    assert row.parameters == pytest.approx(parameters / 1e9, rel=0.01)
    assert row.largest == pytest.approx(largest / 1e9, rel=0.01)
    # Files are float32; of Karlo's CLIP the whole model is downloaded, of which one tower is used.
    assert row.megabytes / 1000 == pytest.approx(4 * parameters / 1e9, rel=0.05)
    availability = models.availability(row)
    assert availability["memory"]["float16"] == pytest.approx(2 * row.parameters + HEADROOM, abs=0.1)
    assert availability["least"]["float32"] == pytest.approx(4 * row.largest + HEADROOM, abs=0.1)


@pytest.mark.parametrize("name", FAMILIES)
def test_shapes_fit_from_the_caption_to_the_picture(lab, name):
    lab, *_ = lab(name)
    width, shape, pixels, text = shapes(name)
    decoder, captions = lab.decoder, ["a red cat", "a dog"]
    assert (decoder.shape, decoder.image_size) == (shape, pixels)
    z_i = torch.empty(2, width, device=META)
    if lab.prior is not None:  # as in prior.sample
        assert lab.prior.width == width
        cond = lab.prior.encode_prompt(captions)
        assert (cond.z_t.shape, cond.tokens.shape[:2]) == ((2, width), (2, 77))
        x_0 = lab.prior.x_0(torch.empty_like(cond.z_t), 979, cond, 4.0)
        z_i = lab.prior.to_z_i(x_0)
        assert x_0.shape == z_i.shape == (2, width)
    text_states = decoder.encode_prompt(captions)
    assert text is None if text_states is None else text_states.shape == (2, *text)
    x_T = torch.empty(2, *shape, device=META)
    eps = decoder.eps(x_T, 979, Conditioning(z_i, text_states), 4.0)  # as in decoding.sample_steps
    x_0 = ddim_step(x_T, eps, abar_at(decoder.abar, 979), abar_at(decoder.abar, CLEAN))
    decoded = decoder.to_pixels(x_0)
    assert (eps.shape, decoded.shape) == ((2, *shape), (2, 3, pixels, pixels))
    assert lab.encoder.encode_image(decoded).shape == (2, width)
    if lab.upsampler is not None:
        large = upsampling.upsample(lab.upsampler, decoded, seeds=[0, 1], steps=[999, 0, CLEAN])
        assert large.shape == (2, 3, 256, 256)


@pytest.mark.parametrize("name", FAMILIES)
def test_shapes_fit_from_the_picture_to_its_inversion(lab, name):
    lab, *_ = lab(name)
    width, shape, pixels, _ = shapes(name)
    original = torch.empty(1, 3, pixels, pixels, device=META)
    z_i, x_0 = lab.encoder.encode_image(original), lab.decoder.to_x0(original)  # as in experiments.reconstruct
    assert (z_i.shape, x_0.shape) == ((1, width), (1, *shape))
    x_t = ddim_step(x_0, lab.decoder.eps(x_0, 500, Conditioning(z_i)), 1.0, abar_at(lab.decoder.abar, 500))
    assert x_t.shape == x_0.shape and lab.decoder.to_pixels(x_t).shape == original.shape
