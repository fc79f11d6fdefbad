"""The families against diffusers' own pipelines: the same noise, captions and times give the same numbers.

Stock samplers that draw noise at every step are compared evaluation by evaluation, on the states that they pass
through; whole samples are compared with diffusers' DDIMScheduler put into the stock pipelines.
"""

import functools

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    KandinskyV22InpaintPipeline,
    KandinskyV22Pipeline,
    KandinskyV22PriorPipeline,
    PriorTransformer,
    StableUnCLIPImg2ImgPipeline,
    UnCLIPImageVariationPipeline,
    UnCLIPPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2_inpainting import prepare_mask
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from latentlab import inpainting, upsampling
from latentlab.decoding import decode
from latentlab.diffusion import CLEAN, Conditioning
from latentlab.io import images
from latentlab.latents import Latent
from latentlab.models.unclip_prior import UnclipPrior
from latentlab.noise import SeededNoise, draw_x_T
from latentlab.prior import sample

CAPTIONS, SEEDS = ["a red cat", "two blue dogs on the moon"], [3, 4]
TIMES = [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, CLEAN]  # DDIMScheduler's own ten, "leading"
SIDE = 32  # of the tiny image towers


class Ddim(DDIMScheduler):
    """DDIMScheduler called as the unCLIP pipelines call their own scheduler; it keeps the last sample."""

    def step(self, output, timestep, sample, prev_timestep=None, generator=None, **_):
        output_of_step = super().step(output[:, : sample.shape[1]], timestep, sample, use_clipped_model_output=True)
        self.last = output_of_step.prev_sample
        return output_of_step


class Recorded(UnCLIPScheduler):
    """The published stochastic scheduler; it keeps every state that the network saw, and its output after guidance."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.seen = []

    def step(self, output, timestep, sample, **kwargs):
        self.seen.append((int(timestep), sample, output[:, : sample.shape[1]]))
        output_of_step = super().step(output, timestep, sample, **kwargs)
        self.last = output_of_step.prev_sample
        return output_of_step


def cosine(**options):
    return Ddim(beta_schedule="squaredcos_cap_v2", **options)


def clipping(limit):
    return {"clip_sample": True, "clip_sample_range": limit}


@pytest.fixture(scope="module")
def part(published):
    """Any part of the tiny checkpoints, as its own library loads it."""

    @functools.cache
    def load(kind, repository, name):
        loaded = kind.from_pretrained(published / repository / name)
        return loaded if kind is CLIPTokenizer else loaded.eval()

    return load


@pytest.fixture(scope="module")
def pictures():
    """Two PIL pictures of the image towers' size, so that no two ways of resizing can differ."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


def processor():
    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE)


def prior_noise(lab):
    return SeededNoise(SEEDS, (1, lab.prior.width), stream="prior")().flatten(0, 1)


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# Kandinsky 2.2


@pytest.fixture(scope="module")
def kandinsky_prior(part):
    def build(scheduler):
        load = functools.partial(part, repository="kandinsky-2-2-prior")
        return quiet(
            KandinskyV22PriorPipeline(
                load(PriorTransformer, name="prior"),
                load(CLIPVisionModelWithProjection, name="image_encoder"),
                load(CLIPTextModelWithProjection, name="text_encoder"),
                load(CLIPTokenizer, name="tokenizer"),
                scheduler,
                processor(),
            )
        )

    return build


@pytest.mark.parametrize("limit", [10.0, 0.5])  # the published one, and one that is reached
def test_kandinskys_prior_is_the_stock_pipelines(family, kandinsky_prior, same, limit):
    lab = family("kandinsky22")
    prior = UnclipPrior(lab.prior.network, lab.encoder, {"clip_sample_range": limit})
    stock = kandinsky_prior(cosine(prediction_type="sample", **clipping(limit)))
    wanted = stock(CAPTIONS, num_inference_steps=10, guidance_scale=4.0, latents=prior_noise(lab))
    z_i = sample(prior, CAPTIONS, seeds=SEEDS, steps=TIMES, guidance=4.0, candidates=1)
    same("kandinsky22", f"prior, 10 steps, guidance 4, clipped at {limit}", z_i, wanted.image_embeds)
    same("kandinsky22", "null z_i of zero pixels", lab.decoder.null, wanted.negative_image_embeds[:1])


def test_kandinskys_prior_is_the_stock_one_at_every_step_of_the_published_sampler(family, kandinsky_prior, same):
    lab = family("kandinsky22")
    scheduler = Recorded(prediction_type="sample", clip_sample_range=10.0)
    kandinsky_prior(scheduler)(CAPTIONS, num_inference_steps=6, generator=torch.Generator().manual_seed(0))
    text = lab.prior.encode_prompt(CAPTIONS)
    ours = torch.stack([lab.prior.x_0(x, t, text, 4.0) for t, x, _ in scheduler.seen])
    wanted = torch.stack([output for *_, output in scheduler.seen]).clamp(-10, 10)
    same("kandinsky22", "prior, along UnCLIPScheduler's noisy path", ours, wanted)


def test_kandinskys_encoder_is_the_stock_pipelines(family, kandinsky_prior, pictures, same):
    stock, lab = kandinsky_prior(None), family("kandinsky22")
    with torch.no_grad():
        wanted = stock.image_encoder(stock.image_processor(pictures, return_tensors="pt").pixel_values).image_embeds
    same("kandinsky22", "image tower", lab.encoder.encode_image(images.to_tensor(*pictures)), wanted)


@torch.no_grad()
def test_kandinskys_decoder_and_movq_are_the_stock_pipelines(family, part, same):
    lab, repository = family("kandinsky22"), "kandinsky-2-2-decoder"
    scheduler = DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012, clip_sample=False)
    movq = part(VQModel, repository, "movq")
    stock = quiet(KandinskyV22Pipeline(part(UNet2DConditionModel, repository, "unet"), scheduler, movq))
    rng = torch.Generator().manual_seed(0)
    z_i, x_T = torch.randn(2, lab.prior.width, generator=rng), draw_x_T(lab.decoder, SEEDS)
    wanted = stock(
        z_i,
        lab.decoder.null.expand(2, -1),
        16,
        16,
        num_inference_steps=10,
        guidance_scale=4.0,
        latents=x_T,
        output_type="latent",
    ).images
    x_0 = decode(lab.decoder, Latent(z_i, x_T), steps=TIMES, guidance=4.0)
    same("kandinsky22", "decoder, 10 steps, guidance 4", x_0, wanted)
    pixels = movq.decode(x_T, force_not_quantize=True).sample.clamp(-1, 1)  # of the size of real latents, unlike x_0
    same("kandinsky22", "MoVQ's decoder", lab.decoder.to_pixels(x_T), pixels)
    pixels = torch.rand(2, 3, 16, 16, generator=rng) * 2 - 1
    same("kandinsky22", "MoVQ's encoder", lab.decoder.to_x0(pixels), movq.encode(pixels).latents)


@torch.no_grad()
def test_kandinskys_inpainting_is_the_stock_pipelines(family, part, same):
    """The stock pipeline noises the known part by x_T itself, and lets the mask grow by a cell, up and to the left."""
    lab, repository = family("kandinsky22-inpaint"), "kandinsky-2-2-decoder-inpaint"
    scheduler = DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012, clip_sample=False)
    movq, unet = part(VQModel, repository, "movq"), part(UNet2DConditionModel, repository, "unet")
    rng = torch.Generator().manual_seed(0)
    z_i, x_T = torch.randn(2, lab.prior.width, generator=rng), draw_x_T(lab.decoder, SEEDS)
    pixels, mask = torch.rand(1, 3, 16, 16, generator=rng) * 2 - 1, torch.zeros(1, 1, 16, 16)
    mask[..., 6:12, 4:10] = 1
    wanted = quiet(KandinskyV22InpaintPipeline(unet, scheduler, movq))(
        z_i,
        pixels.expand(2, -1, -1, -1),
        mask.expand(2, -1, -1, -1),
        lab.decoder.null.expand(2, -1),
        16,
        16,
        num_inference_steps=10,
        guidance_scale=4.0,
        latents=x_T,
        output_type="latent",
    ).images
    kept = prepare_mask(1 - torch.nn.functional.interpolate(mask, (8, 8)))
    x_0, grid = lab.decoder.to_x0(pixels), kept == 0
    cond = inpainting.with_known(lab.decoder, Conditioning(z_i), x_0, grid)
    known = inpainting.noised(x_0, lab.decoder.abar, lambda: x_T)
    # The stock pipeline begins with noise everywhere, where ours begins with what is known.
    start = lambda t: x_T if t == TIMES[0] else known(t)  # noqa: E731
    *_, last = inpainting.inpaint_steps(lab.decoder, cond, grid, start, x_T, TIMES, seeds=SEEDS, guidance=4.0)
    same("kandinsky22-inpaint", "inpainting, 10 steps, guidance 4", last.x_t, wanted)


# Karlo


@pytest.fixture(scope="module")
def karlo_parts(part):
    load = functools.partial(part, repository="karlo-v1-alpha")
    return {
        "decoder": load(UNet2DConditionModel, name="decoder"),
        "tokenizer": load(CLIPTokenizer, name="tokenizer"),
        "text_encoder": load(CLIPTextModelWithProjection, name="text_encoder"),
        "text_proj": load(UnCLIPTextProjModel, name="text_proj"),
        "super_res_first": load(UNet2DModel, name="super_res_first"),
        "super_res_last": load(UNet2DModel, name="super_res_last"),
    }


def karlo_noise(lab):
    high = lab.upsampler.high
    return {
        "decoder_latents": draw_x_T(lab.decoder, SEEDS),
        "super_res_latents": SeededNoise(SEEDS, (3, high, high), stream="upsampler")(),
    }


SUPER_TIMES = [852, 710, 568, 426, 284, 142, 0, CLEAN]  # DDIMScheduler's own seven


def test_karlos_pictures_from_captions_are_the_stock_pipelines(family, karlo_parts, part, same):
    lab = family("karlo")
    schedulers = [cosine(prediction_type="sample", **clipping(5.0)), cosine(clip_sample=False), cosine()]
    stock = quiet(
        UnCLIPPipeline(
            part(PriorTransformer, "karlo-v1-alpha", "prior"),
            **karlo_parts,
            **dict(zip(("prior_scheduler", "decoder_scheduler", "super_res_scheduler"), schedulers)),
        )
    )
    stock_pixels = stock(
        CAPTIONS,
        prior_num_inference_steps=10,
        decoder_num_inference_steps=10,
        super_res_num_inference_steps=7,
        prior_latents=prior_noise(lab),
        **karlo_noise(lab),
        output_type="np",
    ).images
    z_i = sample(lab.prior, CAPTIONS, seeds=SEEDS, steps=TIMES, guidance=4.0, candidates=1)
    same("karlo", "prior, 10 steps, guidance 4", z_i, stock.prior.post_process_latents(schedulers[0].last).detach())
    latent, text = Latent(z_i, draw_x_T(lab.decoder, SEEDS)), lab.decoder.encode_prompt(CAPTIONS)
    x_0 = decode(lab.decoder, latent, text=text, steps=TIMES, guidance=8.0)
    same("karlo", "decoder, 10 steps, guidance 8", x_0, schedulers[1].last)
    large = upsampling.upsample(lab.upsampler, lab.decoder.to_pixels(x_0), seeds=SEEDS, steps=SUPER_TIMES)
    wanted = torch.from_numpy(stock_pixels).permute(0, 3, 1, 2) * 2 - 1
    same("karlo", "super-resolution, 7 steps, both networks", large, wanted)


def test_karlo_is_the_stock_one_at_every_step_of_the_published_sampler(family, karlo_parts, part, same):
    lab = family("karlo")
    schedulers = {
        "prior_scheduler": Recorded(prediction_type="sample", clip_sample_range=5.0),
        "decoder_scheduler": Recorded(variance_type="learned_range"),
        "super_res_scheduler": Recorded(),
    }
    stock = quiet(UnCLIPPipeline(part(PriorTransformer, "karlo-v1-alpha", "prior"), **karlo_parts, **schedulers))
    stock(CAPTIONS, 1, 5, 5, 7, generator=torch.Generator().manual_seed(0), **karlo_noise(lab))
    prior, decoder, upsampler = (scheduler.seen for scheduler in schedulers.values())
    z_i = lab.prior.to_z_i(schedulers["prior_scheduler"].last)
    text = lab.prior.encode_prompt(CAPTIONS)
    ours = torch.stack([lab.prior.x_0(x, t, text, 4.0) for t, x, _ in prior])
    same("karlo", "prior, along UnCLIPScheduler's noisy path", ours, torch.stack([o for *_, o in prior]).clamp(-5, 5))
    cond = Conditioning(z_i, lab.decoder.encode_prompt(CAPTIONS))
    ours = torch.stack([lab.decoder.eps(x, t, cond, 8.0) for t, x, _ in decoder])
    same("karlo", "decoder, along UnCLIPScheduler's noisy path", ours, torch.stack([o for *_, o in decoder]))
    assert tuple(t for t, *_ in upsampler) == lab.upsampler.steps[:-1]


def test_karlos_variations_are_the_stock_pipelines(family, karlo_parts, part, pictures, same):
    lab = family("karlo")
    schedulers = {"decoder_scheduler": cosine(clip_sample=False), "super_res_scheduler": cosine()}
    tower = part(CLIPVisionModelWithProjection, "clip-vit-large-patch14", ".")
    stock = quiet(
        UnCLIPImageVariationPipeline(**karlo_parts, image_encoder=tower, feature_extractor=processor(), **schedulers)
    )
    stock(pictures, 1, 10, 7, **karlo_noise(lab), output_type="np")
    z_i = lab.encoder.encode_image(images.to_tensor(*pictures))
    x_0 = decode(lab.decoder, Latent(z_i, draw_x_T(lab.decoder, SEEDS)), steps=TIMES, guidance=8.0)
    same("karlo", "variations of pictures, no caption", x_0, schedulers["decoder_scheduler"].last)


@torch.no_grad()
def test_karlos_towers_are_those_of_the_whole_clip(family, part, pictures, same):
    lab, whole = family("karlo"), part(CLIPModel, "clip-vit-large-patch14", ".")
    pixels = processor()(pictures, return_tensors="pt").pixel_values
    ours = lab.encoder.encode_image(images.to_tensor(*pictures))
    same("karlo", "image tower", ours, whole.visual_projection(whole.vision_model(pixels).pooler_output))


# Stable unCLIP


@pytest.fixture(scope="module")
def stable(part):
    def build(repository):
        load = functools.partial(part, repository=repository)
        betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
        return quiet(
            StableUnCLIPImg2ImgPipeline(
                processor(),
                load(CLIPVisionModelWithProjection, name="image_encoder"),
                load(StableUnCLIPImageNormalizer, name="image_normalizer"),
                DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
                load(CLIPTokenizer, name="tokenizer"),
                load(CLIPTextModel, name="text_encoder"),
                load(UNet2DConditionModel, name="unet"),
                DDIMScheduler(**betas, prediction_type="v_prediction", clip_sample=False),
                load(AutoencoderKL, name="vae"),
            )
        )

    return build


STABLE = [("stable-unclip-h", "stable-diffusion-2-1-unclip"), ("stable-unclip-l", "stable-diffusion-2-1-unclip-small")]


@pytest.mark.parametrize(("name", "repository"), STABLE)
@pytest.mark.parametrize(("level", "seed", "eta"), [(0, None, 0.0), (0, None, 0.7), (300, 5, 0.0)])
def test_stable_unclip_is_the_stock_pipeline(family, stable, pictures, same, name, repository, level, seed, eta):
    lab, stock = family(name), stable(repository)
    decoder = lab.decoder.with_noise(level, seed=seed)
    z_i = lab.encoder.encode_image(images.to_tensor(*pictures))
    drawn = torch.zeros_like(z_i) if decoder.noise is None else decoder.noise.expand_as(z_i)
    stock.noise_image_embeddings = functools.partial(stock.noise_image_embeddings, noise=drawn)
    generators = SeededNoise(SEEDS, decoder.shape, stream="eta").generators
    wanted = stock(
        pictures,
        CAPTIONS,
        num_inference_steps=10,
        guidance_scale=10.0,
        eta=eta,
        generator=generators,
        latents=draw_x_T(decoder, SEEDS),
        noise_level=level,
        output_type="latent",
    ).images
    latent, text = Latent(z_i, draw_x_T(decoder, SEEDS)), decoder.encode_prompt(CAPTIONS)
    x_0 = decode(decoder, latent, text=text, steps=TIMES, guidance=10.0, eta=eta, seeds=SEEDS)
    same(name, f"decoder, 10 steps, level {level}, eta {eta}", x_0, wanted)
    with torch.no_grad():
        pixels = stock.vae.decode(wanted / stock.vae.config.scaling_factor).sample.clamp(-1, 1)
    same(name, f"decoder and VAE, level {level}, eta {eta}", decoder.to_pixels(x_0), pixels)


@torch.no_grad()
@pytest.mark.parametrize(("name", "repository"), STABLE)
def test_stable_unclips_first_stage_and_tower_are_the_stock_ones(family, part, pictures, same, name, repository):
    lab, vae = family(name), part(AutoencoderKL, repository, "vae")
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    same(name, "VAE's encoder", lab.decoder.to_x0(pixels), vae.encode(pixels).latent_dist.mode() * 0.18215)
    tower = part(CLIPVisionModelWithProjection, repository, "image_encoder")
    wanted = tower(processor()(pictures, return_tensors="pt").pixel_values).image_embeds
    same(name, "image tower", lab.encoder.encode_image(images.to_tensor(*pictures)), wanted)


def test_stable_unclip_l_has_the_prior_of_karlo(family):
    ours, karlos = family("stable-unclip-l"), family("karlo")
    z_i, wanted = (sample(lab.prior, CAPTIONS, seeds=SEEDS, steps=4, guidance=4.0) for lab in (ours, karlos))
    torch.testing.assert_close(z_i, wanted)
