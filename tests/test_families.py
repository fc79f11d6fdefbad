"""Karlo, Kandinsky 2.2 and Stable unCLIP on tiny checkpoints in the published layout, loaded by the real code."""

import copy as copying
import dataclasses
import json
import os
import shutil
from types import SimpleNamespace

import open_clip
import pytest
import torch
from huggingface_hub import errors as hub_errors

from latentlab import experiments, models
from latentlab.captions import caption_warnings
from latentlab.clip import local
from latentlab.decoding import decode
from latentlab.diffusion import CLEAN, Conditioning
from latentlab.errors import UserError
from latentlab.inversion import invert
from latentlab.io import images
from latentlab.latents import Latent
from latentlab.models import checkpoint, configs, hub, offload
from latentlab.noise import draw_x_T

FAMILIES = [row.name for row in models.REGISTRY.values() if row.sources]
WITH_PRIOR = [name for name in FAMILIES if "prior" in {source.role for source in models.spec(name).sources}]
D = 32  # of the tiny checkpoints


def pictures(count=2, height=20, width=31):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(7)) * 2 - 1


@pytest.fixture
def copy(published, tmp_path):
    """A copy of the tiny repositories whose files may be removed and written anew, but not changed in place."""
    return shutil.copytree(published, tmp_path / "copy", copy_function=os.link)


def load(folder, name, **options):
    return models.load(folder, family=name, device="cpu", **options)


# Whole labs


@pytest.mark.parametrize("name", FAMILIES)
def test_shapes_of_a_familys_parts_fit_one_another(family, name):
    lab = family(name)
    z_i = lab.encoder.encode_image(pictures())
    assert z_i.shape == (2, D) and z_i.dtype == torch.float32
    assert lab.encoder.square(images.to_pil(pictures())[0]).size == (lab.encoder.image_size,) * 2
    assert len(json.loads(lab.clip_metadata()["probe"])) == D
    for part in filter(None, (lab.prior, lab.decoder, lab.upsampler)):
        assert (part.abar.diff() < 0).all() and part.abar.dtype == torch.float64
    pixels = lab.decoder.to_pixels(draw_x_T(lab.decoder, [0, 1]))
    assert pixels.shape == (2, 3, lab.decoder.image_size, lab.decoder.image_size)
    assert lab.decoder.to_x0(pixels).shape[1:] == lab.decoder.shape
    assert lab.upsampler is None or (lab.upsampler.low, lab.upsampler.high) == (lab.decoder.image_size, 16)
    assert lab.decoder.max_batch_size >= 1


@pytest.mark.parametrize("name", WITH_PRIOR)
def test_a_caption_becomes_a_picture(family, name):
    lab = family(name)
    generated = experiments.generate(lab, "a red cat", seeds=[0, 1], steps=3, prior_steps=3, prior_guidance=2.0)
    side = lab.upsampler.high if lab.upsampler else lab.decoder.image_size
    assert generated.pixels.shape == (2, 3, side, side) and generated.pixels.isfinite().all()
    assert generated.latent.z_i.shape == (2, D)


def test_generating_without_a_prior_is_refused_with_what_to_do_instead(family):
    lab = family("stable-unclip-h")
    assert lab.prior is None
    with pytest.raises(UserError, match=r"no prior.*start from a picture, or load one that has it"):
        experiments.generate(lab, "a red cat")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_picture_is_reconstructed(family, name):
    lab = family(name)
    reconstruction = experiments.reconstruct(lab, pictures(), steps=6, iterations=4)
    assert reconstruction.psnr.isfinite().all() and reconstruction.cosine.isfinite().all()
    side = lab.upsampler.high if lab.upsampler else lab.decoder.image_size
    assert (
        reconstruction.large.shape == (2, 3, side, side)
        and reconstruction.inverted.original.shape[-1] == lab.decoder.image_size
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_inverting_and_decoding_gives_x_0_back(family, name):
    decoder, z_i = family(name).decoder, family(name).encoder.encode_image(pictures())
    x_0 = decoder.to_x0(images.resize(pictures(), decoder.image_size))
    times = [*range(900, 0, -75), CLEAN]  # where a cosine schedule is not steep yet
    inversion = invert(decoder, x_0, Conditioning(z_i), steps=times, iterations=20, tolerance=1e-6)
    decoded = decode(decoder, inversion.latent, steps=times)
    error = (decoded - x_0).square().mean() / x_0.var()
    assert 10 * torch.log10(1 / error) > 60


@pytest.mark.parametrize("name", FAMILIES)
def test_the_picture_depends_on_z_i_the_caption_and_guidance(family, name):
    decoder = family(name).decoder
    z_i = torch.randn(2, D, generator=torch.Generator().manual_seed(1))
    x_T = draw_x_T(decoder, [0, 0])

    def decoded(z_i=z_i, caption="a red cat", guidance=3.0):
        return decode(
            decoder, Latent(z_i, x_T), text=decoder.encode_prompt([caption]), steps=[800, 400, -1], guidance=guidance
        )

    first, second = decoded()
    assert (first - second).abs().max() > 1e-3
    assert (decoded(guidance=1.0) - decoded()).abs().max() > 1e-3
    changed = (decoded(caption="two blue dogs on the moon") - decoded()).abs().max()
    reads_captions = decoder.encode_prompt(["a red cat"]) is not None
    assert changed > 1e-3 if reads_captions else changed == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_in_half_precision_gives_float32_results(published, name):
    lab = load(published, name, dtype="bfloat16")
    z_i = lab.encoder.encode_image(pictures())
    x_T = draw_x_T(lab.decoder, [0, 1])
    eps = lab.decoder.eps(x_T, 500, Conditioning(z_i, lab.decoder.encode_prompt(["a cat", "a dog"])), 2.0)
    assert lab.decoder.network.dtype == torch.bfloat16
    assert z_i.dtype == eps.dtype == lab.decoder.to_x0(pictures()).dtype == torch.float32


def test_the_torch_dtype_of_a_config_does_not_set_the_precision(copy, family):
    rewrite("*prior/image_encoder/config.json", torch_dtype="float16")(copy)
    lab = load(copy, "kandinsky22")
    assert lab.encoder.image.dtype == torch.float32
    torch.testing.assert_close(
        lab.encoder.encode_image(pictures()), family("kandinsky22").encoder.encode_image(pictures())
    )


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("name", WITH_PRIOR)
def test_networks_that_take_turns_give_the_same_picture(published, family, name, monkeypatch, on_disk):
    monkeypatch.setattr(offload, "LARGE", 100)
    monkeypatch.setattr(checkpoint.Checkpoint, "_plan", lambda self, *_: offload.Turns(self.device, on_disk=on_disk))
    lab = load(published, name)
    in_turns, wanted = (experiments.generate(x, "a cat", steps=2, prior_steps=2) for x in (lab, family(name)))
    torch.testing.assert_close(in_turns.pixels, wanted.pixels)
    network, whole = lab.prior.network, family(name).prior.network  # which waits by now
    waiting = sum(weight.numel() for weight in network.parameters())
    assert waiting < (0.1 if on_disk else 1.1) * sum(weight.numel() for weight in whole.parameters())


def test_offloading_works_on_a_cpu(published):
    lab = load(published, "stable-unclip-h", offload=True)
    assert lab.encoder.encode_image(pictures()).shape == (2, D)


def test_one_network_at_a_time_has_its_weights_and_small_ones_stay(monkeypatch):
    monkeypatch.setattr(offload, "LARGE", 3)
    turns, whole = offload.Turns(torch.device("cpu"), on_disk=True), [torch.nn.Linear(2, 2) for _ in range(2)]
    parts = [turns.add(copying.deepcopy(network), lambda network=network: network) for network in whole]
    for k in (0, 1, 0):
        torch.testing.assert_close(parts[k](torch.ones(1, 2)), whole[k](torch.ones(1, 2)))
        assert (parts[k].weight.numel(), parts[1 - k].weight.numel(), parts[1 - k].bias.numel()) == (4, 0, 2)


@pytest.mark.gpu
def test_offloaded_networks_wait_in_the_machines_memory(monkeypatch):
    monkeypatch.setattr(offload, "LARGE", 3)
    turns = offload.Turns(torch.device("cuda"))
    one, two = (turns.add(torch.nn.Linear(2, 2), lambda: None) for _ in range(2))
    for running, waiting in ((one, two), (two, one)):
        running(torch.zeros(1, 2, device="cuda"))
        assert (running.weight.device.type, waiting.weight.device.type) == ("cuda", "cpu")
        assert waiting.bias.device.type == "cuda"


# The encoder


def blocks(weights, layers):
    """transformers' names of a tower's blocks as open_clip's."""
    for k in range(layers):
        old, new = f"encoder.layers.{k}", f"transformer.resblocks.{k}"
        for kind in ("weight", "bias"):
            parts = [weights[f"{old}.self_attn.{x}_proj.{kind}"] for x in "qkv"]
            yield f"{new}.attn.in_proj_{kind}", torch.cat(parts)
            names = {
                "attn.out_proj": "self_attn.out_proj",
                "ln_1": "layer_norm1",
                "ln_2": "layer_norm2",
                "mlp.c_fc": "mlp.fc1",
                "mlp.c_proj": "mlp.fc2",
            }
            yield from ((f"{new}.{a}.{kind}", weights[f"{old}.{b}.{kind}"]) for a, b in names.items())


def as_open_clip(image, text):
    """An open_clip model with the weights of two towers of transformers."""
    v, t = image.config, text.config
    model = open_clip.CLIP(
        v.projection_dim,
        {
            "layers": v.num_hidden_layers,
            "width": v.hidden_size,
            "head_width": v.hidden_size // v.num_attention_heads,
            "mlp_ratio": v.intermediate_size / v.hidden_size,
            "patch_size": v.patch_size,
            "image_size": v.image_size,
        },
        {
            "layers": t.num_hidden_layers,
            "width": t.hidden_size,
            "heads": t.num_attention_heads,
            "context_length": 77,
            "mlp_ratio": t.intermediate_size / t.hidden_size,
            "vocab_size": t.vocab_size,
        },
        quick_gelu=v.hidden_act == "quick_gelu",
    )
    see = {k.removeprefix("vision_model."): w for k, w in image.state_dict().items()}
    read = {k.removeprefix("text_model."): w for k, w in text.state_dict().items()}
    state = {f"visual.{k}": w for k, w in blocks(see, v.num_hidden_layers)}
    state |= dict(blocks(read, t.num_hidden_layers))
    state |= {
        "visual.conv1.weight": see["embeddings.patch_embedding.weight"],
        "visual.class_embedding": see["embeddings.class_embedding"],
        "visual.positional_embedding": see["embeddings.position_embedding.weight"],
        "visual.proj": see["visual_projection.weight"].T,
        "token_embedding.weight": read["embeddings.token_embedding.weight"],
        "positional_embedding": read["embeddings.position_embedding.weight"],
        "text_projection": read["text_projection.weight"].T,
        "logit_scale": torch.tensor(100.0).log(),
    }
    for kind in ("weight", "bias"):
        state |= {
            f"visual.ln_pre.{kind}": see[f"pre_layrnorm.{kind}"],
            f"visual.ln_post.{kind}": see[f"post_layernorm.{kind}"],
            f"ln_final.{kind}": read[f"final_layer_norm.{kind}"],
        }
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", WITH_PRIOR)
def test_a_checkpoints_towers_are_open_clips_architecture(family, name, same):
    """QuickGELU of OpenAI's, GELU of LAION's; so open_clip's weights of the same tag give the same embeddings."""
    encoder = family(name).encoder
    stock = as_open_clip(encoder.image, encoder.text)
    pixels = images.resize(pictures(), encoder.image_size)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    same(
        name,
        "image tower against open_clip",
        encoder.encode_image(pixels),
        stock.encode_image(((pixels + 1) / 2 - mean) / std),
    )
    captions = ["a red cat", "two blue dogs on the moon"]
    same(
        name, "text tower against open_clip", encoder.encode_text(captions), stock.encode_text(encoder.tokens(captions))
    )


@pytest.mark.parametrize("name", [name for name in FAMILIES if models.spec(name).open_clip])
def test_the_registrys_open_clip_tag_exists(name):
    assert models.spec(name).open_clip in open_clip.list_pretrained()


def test_the_encoder_has_the_methods_of_every_encoder(family):
    encoder = family("kandinsky22").encoder
    probabilities = encoder.zero_shot(pictures(), ["cat", "dog", "red apple"], ["a photo of a {}"])
    assert probabilities.shape == (2, 3)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert encoder.encode_text("a cat").shape == (1, D) and encoder.image_size == 32
    assert caption_warnings([encoder.check_caption("a cat")]) == []
    with pytest.raises(UserError, match="the caption is empty"):
        encoder.check_caption("  ")


def test_the_check_of_a_caption_that_is_too_long_gives_the_part_that_fits(family):
    check = family("karlo").encoder.check_caption("cats and " * 20)
    assert check.truncated == "cats and " * 10 + "cats"  # a letter is a token here; 75 fit between start and end


def test_stable_unclip_h_takes_z_t_from_open_clip(published, family):
    encoder, captions = family("stable-unclip-h").encoder, ["a red apple", "a dog"]
    wanted = local(published / "open_clip").encode_text(captions)
    torch.testing.assert_close(encoder.encode_text(captions), wanted)
    assert encoder.zero_shot(pictures(), captions).shape == (2, 2)


def test_a_missing_text_tower_is_refused_with_the_command_and_pictures_still_encode(published, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no network")

    monkeypatch.setattr(open_clip, "create_model", refuse)
    encoder = load(published / "stable-diffusion-2-1-unclip", "stable-unclip-h").encoder
    with pytest.raises(UserError, match=r"`latentlab fetch ViT-H-14:laion2b_s32b_b79k`.*open_clip/ beside"):
        encoder.encode_text("a cat")
    assert encoder.encode_image(pictures()).shape == (2, D)


def test_z_t_of_another_clip_is_refused(copy, clip_folder):
    shutil.rmtree(copy / "open_clip")
    shutil.copytree(clip_folder, copy / "open_clip")
    with pytest.raises(UserError, match="z_t has width 24 and z_i 32: take both from one CLIP"):
        load(copy, "stable-unclip-h").encoder.encode_text("a dog")


# Karlo's, Kandinsky's and Stable unCLIP's own


def test_kandinsky_reads_no_caption(family):
    assert family("kandinsky22").decoder.encode_prompt(["a cat"]) is None


def test_noise_on_z_i_is_seeded_and_bounded(family):
    decoder = family("stable-unclip-l").decoder
    z_i = torch.randn(2, D, generator=torch.Generator().manual_seed(0))
    assert torch.equal(decoder.labels(z_i), decoder.labels(z_i))
    noised, other = (decoder.with_noise(500, seed=s).labels(z_i) for s in (1, 2))
    assert torch.equal(noised, decoder.with_noise(500, seed=1).labels(z_i)) and not torch.allclose(noised, other)
    torch.testing.assert_close(decoder.labels(z_i)[:, :D], z_i, rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match="level is 1000: give a number from 0 to 999"):
        decoder.with_noise(1000)


def test_the_noise_on_z_i_is_among_a_results_settings(family):
    lab = family("stable-unclip-l")
    noised = dataclasses.replace(lab, decoder=lab.require_decoder().with_noise(300, seed=7))
    plain, other = (
        experiments.generate(lab_used, "a cat", steps=2, prior_steps=2).settings for lab_used in (lab, noised)
    )
    assert (plain["noise_level"], plain["noise_seed"]) == (0, None)
    assert (other["noise_level"], other["noise_seed"]) == (300, 7)


@pytest.mark.parametrize("name", FAMILIES)
def test_keys_that_a_checkpoint_lacks_have_their_published_values(family, copy, name):
    for config in copy.glob("*/*/scheduler_config.json"):
        config.unlink()
    loaded, wanted = load(copy, name), family(name)
    assert loaded.decoder.kind == wanted.decoder.kind == ("v" if name.startswith("stable") else "eps")
    for part in ("prior", "decoder", "upsampler"):
        if getattr(wanted, part) is not None:
            torch.testing.assert_close(getattr(loaded, part).abar, getattr(wanted, part).abar)


def test_the_vae_of_stable_unclip_has_the_published_scale_even_where_its_config_lacks_it(copy):
    file = copy / "stable-diffusion-2-1-unclip" / "vae" / "config.json"
    config = json.loads(file.read_text())
    assert config.pop("scaling_factor") == 0.18215
    file.unlink()
    file.write_text(json.dumps(config))
    assert load(copy, "stable-unclip-h").decoder.factor == 0.18215


# Where parts come from


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("kandinsky22", "prior"),
        ("kandinsky22", "unet"),
        ("kandinsky22", "image_encoder"),
        ("karlo", "prior"),
        ("karlo", "super_res_last"),
        ("karlo", "image_encoder"),
        ("stable-unclip-l", "prior"),
        ("stable-unclip-l", "vae"),
        ("stable-unclip-h", "unet"),
    ],
)
def test_a_folder_may_hold_one_part_and_the_rest_comes_from_the_cache(published, name, part, tmp_path, cache):
    (source,) = [s for s in models.spec(name).sources if part in s.parts]
    whole = published / source.name
    shutil.copytree(whole if source.flat else whole / part, tmp_path / "my fine-tune" / part, copy_function=os.link)
    lab = load(tmp_path / "my fine-tune", name)
    assert lab.name == name and lab.weights.startswith("my fine-tune@")


def test_a_part_named_in_two_repositories_belongs_to_the_one_whose_other_part_is_beside_it(published, tmp_path, cache):
    own = tmp_path / "own"
    for part in ("unet", "scheduler"):
        shutil.copytree(published / "kandinsky-2-2-decoder" / part, own / part, copy_function=os.link)
    files = checkpoint.Checkpoint(models.spec("kandinsky22"), own, device=torch.device("cpu"))
    assert files.folder("decoder", "scheduler") == own / "scheduler"
    assert files.folder("prior", "scheduler").is_relative_to(cache)


@pytest.fixture
def cache(published, tmp_path, monkeypatch):
    """A hub cache with the tiny repositories at the registry's revisions, and no network."""
    folder = tmp_path / "hub"
    for row in models.REGISTRY.values():
        for source in row.sources:
            root = folder / f"models--{source.repo.replace('/', '--')}"
            commit = source.revision if source.revision != "main" else "0" * 40
            if not root.exists():
                shutil.copytree(published / source.name, root / "snapshots" / commit, copy_function=os.link)
                (root / "refs").mkdir()
                (root / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_a_cached_model_loads_by_name_without_a_network(cache, name):
    assert models.availability(models.spec(name))["cached"]
    lab = models.load(name, device="cpu")
    assert lab.name == name and models.spec(name).sources[0].repo in lab.weights


def test_a_repository_may_be_named_with_its_revision(cache):
    lab = models.load("kandinsky-community/kandinsky-2-2-decoder@main", family="kandinsky22", device="cpu")
    assert lab.name == "kandinsky22"
    with pytest.raises(UserError, match="kandinsky-2-2-decoder is not cached"):
        models.load("kandinsky-community/kandinsky-2-2-decoder@v2", family="kandinsky22", device="cpu")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_that_is_not_cached_is_refused_with_repository_size_and_command(tmp_path, monkeypatch, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = models.spec(name).sources[0]
    assert not models.availability(models.spec(name))["cached"]
    with pytest.raises(
        UserError, match=rf"{source.repo} is not cached.*`latentlab fetch {name}` fetches its {source.gigabytes} GB"
    ):
        models.load(name, device="cpu")


def answer(kind, status=404):
    return kind("no", response=SimpleNamespace(headers={}, status_code=status, request=None))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            answer(hub_errors.GatedRepoError, 403),
            r"kandinsky-2-2-decoder is gated: accept its terms on .*`hf auth login`",
        ),
        (answer(hub_errors.RepositoryNotFoundError), "is not on the hub, or not for you: give a local copy"),
        (answer(hub_errors.RevisionNotFoundError), "has no revision d44c9d68"),
        (answer(hub_errors.HfHubHTTPError, 503), "can't be fetched .*try `latentlab fetch kandinsky22` again"),
        (TimeoutError("slow"), "is not cached, and the hub can't be reached"),
        (ConnectionError(), "is not cached, and the hub can't be reached"),
        (
            OSError(28, "No space left on device"),
            r"can't be written into the cache \(No space left on device\): make room",
        ),
    ],
)
def test_every_failure_of_the_hub_is_one_sentence_that_says_what_to_do(monkeypatch, error, message):
    def fail(*_, local_files_only, **__):
        raise hub_errors.LocalEntryNotFoundError("not cached") if local_files_only else error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    with pytest.raises(UserError, match=message):
        hub.fetch(models.spec("kandinsky22").sources[0])


@pytest.mark.parametrize(("error", "answers"), [(None, True), (ConnectionError(), False), (TimeoutError(), False)])
def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch, error, answers):
    def head(*_, **__):
        if error:
            raise error

    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: SimpleNamespace(head=head))
    assert hub.reachable() is answers
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.reachable() is False


def test_a_part_in_several_files_loads_completely_or_is_refused(copy, family):
    folder = copy / "kandinsky-2-2-prior" / "prior"
    shutil.rmtree(folder)
    family("kandinsky22").prior.network.save_pretrained(folder, max_shard_size="20KB")
    shards = sorted(folder.glob("*.safetensors"))
    lab = load(copy, "kandinsky22")
    assert len(shards) > 1
    z_i, wanted = (experiments.generate(x, "a cat", steps=1).latent.z_i for x in (lab, family("kandinsky22")))
    torch.testing.assert_close(z_i, wanted)
    shards[0].unlink()
    with pytest.raises(UserError, match=f"{shards[0].name} is missing"):
        load(copy, "kandinsky22")


def test_a_repository_with_only_pickles_is_refused(cache, monkeypatch):
    folder = next(cache.glob("*decoder/snapshots/*/unet"))
    for file in folder.glob("diffusion*"):
        file.unlink()
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: ["unet/diffusion_pytorch_model.bin"])
    with pytest.raises(UserError, match=r"kandinsky-2-2-decoder/unet offers its weights only as pickles"):
        models.load("kandinsky22", device="cpu")
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: [])
    with pytest.raises(UserError, match=r"unet holds no safetensors file.*`latentlab fetch kandinsky22`"):
        models.load("kandinsky22", device="cpu")


@pytest.mark.parametrize(
    ("repository", "name"),
    [("karlo-v1-alpha", "karlo"), ("kandinsky-2-2-decoder", "kandinsky22"), ("kandinsky-2-2-prior", "kandinsky22")],
)
def test_the_family_of_a_folder_is_recognised_by_its_layout(published, cache, repository, name):
    assert models.load(published / repository, device="cpu").name == name


@pytest.mark.parametrize("name", FAMILIES)
def test_fine_tunes_have_different_names_of_weights(published, copy, name):
    part = copy / models.spec(name).sources[0].name / models.spec(name).sources[0].parts[0]
    (file,) = part.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-len(data) // 2] ^= 1
    file.unlink()
    file.write_bytes(data)
    assert load(copy, name).weights.partition("@")[2] != load(published, name).weights.partition("@")[2]


# Refusals


def remove(pattern):
    def damage(folder):
        for file in folder.glob(pattern):
            file.unlink()

    return damage


def truncate(pattern):
    def damage(folder):
        (file,) = folder.glob(pattern)
        half = file.read_bytes()[: file.stat().st_size // 2]
        file.unlink()
        file.write_bytes(half)

    return damage


def rewrite(pattern, **changes):
    def damage(folder):
        (file,) = folder.glob(pattern)
        config = json.loads(file.read_text()) | changes
        file.unlink()
        file.write_text(json.dumps(config))

    return damage


def swap(pattern, other):
    def damage(folder):
        (file,) = folder.glob(pattern)
        file.unlink()
        shutil.copy(next(folder.glob(other)), file)

    return damage


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("karlo", remove("karlo*/decoder/*.safetensors"), r"decoder offers its weights only as pickles.*convert it"),
        ("kandinsky22", remove("*decoder/unet/*"), r"unet holds no safetensors file: copy the folder again"),
        ("kandinsky22", truncate("*prior/prior/*.safetensors"), r"is not a complete .*: delete .*, then copy the"),
        ("stable-unclip-h", rewrite("*unclip/unet/config.json", cross_attention_dim=48), "unet can't be loaded"),
        ("karlo", swap("karlo*/text_encoder/*.safetensors", "*small/text_encoder/*.safetensors"), "lacks 1 weights of"),
        ("stable-unclip-l", rewrite("*small/scheduler/*.json", beta_schedule="sigmoid"), "beta_schedule is 'sigmoid'"),
        ("stable-unclip-l", rewrite("*small/scheduler/*.json", prediction_type="flow"), "prediction_type is 'flow'"),
        ("karlo", remove("karlo*/tokenizer/vocab.json"), "lacks vocab.json or merges.txt"),
    ],
)
def test_a_damaged_checkpoint_is_refused(copy, name, damage, message):
    damage(copy)
    with pytest.raises(UserError, match=message):
        load(copy, name)


def test_a_checkpoint_of_another_family_is_refused(published):
    with pytest.raises(UserError, match=r"has no part of kandinsky22.*it has the layout of karlo"):
        load(published / "karlo-v1-alpha", "kandinsky22")


def test_parts_of_different_widths_are_refused():
    with pytest.raises(UserError, match=r"disagree about the width of z_i \(prior 768, decoder 1280\)"):
        configs.same_width({"prior": 768, "decoder": 1280})


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("{folder}", None, "a family that it does not name: give family= "),
        ("{folder}", "karlo", r"has no part of karlo, which wants decoder/, prior/, image_encoder/"),
        ("{folder}", "emoji", r"is a checkpoint of emoji: give family= \(--family\), one of karlo, kandinsky22"),
        ("{folder}", "karloo", "there is no model 'karloo'.*did you mean karlo"),
        (
            "emoji",
            "karlo",
            r"emoji is a model by itself: leave family \(--family\), or give a folder with parts of karlo",
        ),
        ("{folder}/nowhere", "karlo", "is no folder, and no OWNER/NAME on the hub"),
        ("{folder}/nowhere", None, "is no folder, and no OWNER/NAME on the hub"),
    ],
)
def test_a_path_that_is_no_checkpoint_is_refused(tmp_path, name, family, message):
    with pytest.raises(UserError, match=message):
        models.load(name.format(folder=tmp_path), family=family, device="cpu")


def test_too_little_memory_even_for_one_network_is_refused_before_anything_is_loaded(published, monkeypatch):
    monkeypatch.setattr(checkpoint, "free_gigabytes", lambda _: 1.0)
    with pytest.raises(
        UserError,
        match=r"karlo in float32 wants 1.5 GB of memory on cpu, one network at a time, and 1.0 GB are free: give "
        r"dtype='bfloat16' \(--dtype\) or close something or load\('emoji'\)",
    ):
        load(published, "karlo")


GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "free", "machine", "offload", "turns"),
    [
        (GPU, 100, 100, None, None),
        (GPU, 6, 100, None, "memory"),
        (GPU, 100, 100, True, "memory"),
        (GPU, 100, 100, False, None),
        (GPU, 6, 6, None, "disk"),
        (CPU, 100, 100, None, None),
        (CPU, 6, 6, None, "disk"),
        (CPU, 100, 100, True, "disk"),
    ],
)
def test_networks_take_turns_where_they_do_not_all_fit(monkeypatch, device, free, machine, offload, turns):
    monkeypatch.setattr(checkpoint, "free_gigabytes", lambda where: machine if where == CPU else free)
    files = object.__new__(checkpoint.Checkpoint)
    files.model, files.device, files.dtype = models.spec("karlo"), device, torch.float16
    plan = files._plan(8.0, 3.0, offload)
    assert (plan and ("disk" if plan.on_disk else "memory")) == turns
    with pytest.raises(UserError, match=rf"karlo in float16 wants .* GB of memory on {device}"):
        files._plan(200.0, 200.0, offload)
    if offload is False:
        with pytest.raises(UserError, match=r"give offload=True \(--offload\)"):
            files._plan(200.0, 3.0, offload)


@pytest.mark.parametrize("options", [{"dtype": torch.float16}, {"offload": True}])
def test_the_miniature_refuses_options_that_mean_nothing_to_it(options):
    with pytest.raises(UserError, match="toy is small and computes in float32"):
        models.load("toy", device="cpu", **options)


def test_an_unknown_precision_is_refused():
    with pytest.raises(UserError, match="dtype is 'float8': give float16, bfloat16 or float32"):
        models.load("karlo", device="cpu", dtype="float8")


def test_a_row_stays_frozen_with_its_sources():
    with pytest.raises(dataclasses.FrozenInstanceError):
        models.spec("karlo").sources[0].revision = "main"


# The command line


@pytest.fixture
def command():
    """Run a command line: its exit code and standard output."""
    from typer.testing import CliRunner

    from latentlab.cli import app

    def run(*words):
        outcome = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        return outcome.exit_code, outcome.stdout

    return run


def test_the_list_of_models_has_their_memory_and_whether_they_are_cached(command, cache):
    code, out = command("models", "--json")
    rows = {row["name"]: row for row in json.loads(out)["models"]}
    assert code == 0 and rows.keys() == models.REGISTRY.keys()
    assert rows["emoji"]["cached"] is None and rows["karlo"]["cached"] is True
    assert rows["karlo"]["memory"]["float16"] < rows["karlo"]["memory"]["float32"]
    assert rows["karlo"]["repositories"][0].startswith("kakaobrain/karlo-v1-alpha@5ee4529")


def test_the_list_of_models_names_downloads_and_models_that_do_not_fit(command, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(offload, "default_target", lambda: (torch.device("cpu"), "float32"))
    monkeypatch.setattr(offload, "free_gigabytes", lambda _: 8.0)
    monkeypatch.setenv("COLUMNS", "300")
    lines = {line.split()[0]: line for line in command("models")[1].splitlines() if line.split()}
    assert "15.4 GB" in lines["karlo"] and "to be fetched, slow here: one network at a time" in lines["karlo"]
    assert "wants 8.9 GB of memory, 8.0 GB are free" in lines["kandinsky22"]
    assert "comes with latentlab" in lines["emoji"]


def test_a_command_accepts_a_folder_as_model_and_a_precision(command, published, cache, tmp_path):
    words = ("a cat", "--count", 1, "--steps", 2, "--device", "cpu", "--dtype", "bfloat16", "--out", tmp_path, "--json")
    code, out = command("generate", *words, "--model", published / "karlo-v1-alpha")
    assert code == 0 and json.loads(out)["weights"].startswith("karlo-v1-alpha@")
