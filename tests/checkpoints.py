"""Checkpoints of every family in the published layout: configs at full size, and tiny ones with random weights.

The configs have exactly the keys of the published ones, those of old versions among them.  Tests compare them with what
the hub lists: the sizes of the JSON files to the byte, where they are known (`JSON_SIZES`), and of the weight files
(tests/test_full_size.py).  For CLIP-L and Kandinsky's two towers only the keys that matter are here.

    python tests/checkpoints.py FOLDER      writes the tiny checkpoints of all families
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PriorTransformer, UNet2DConditionModel, UNet2DModel, VQModel
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

# The published keys as tables: one key a line would be 600 lines.
# fmt: off
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
CROSS = {
    "act_fn": "silu", "attention_head_dim": 64, "center_input_sample": False,
    "down_block_types": ["ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3], "downsample_padding": 1,
    "dual_cross_attention": False, "flip_sin_to_cos": True, "freq_shift": 0, "layers_per_block": 3,
    "mid_block_scale_factor": 1, "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "norm_eps": 1e-05,
    "norm_num_groups": 32, "num_class_embeds": None, "only_cross_attention": False,
    "resnet_time_scale_shift": "scale_shift", "sample_size": 64,
    "up_block_types": [*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"], "upcast_attention": False,
    "use_linear_projection": False,
}
SUPER = {
    "act_fn": "silu", "add_attention": False, "attention_head_dim": 8, "block_out_channels": [320, 640, 960, 1280],
    "center_input_sample": False, "down_block_types": ["ResnetDownsampleBlock2D"] * 4, "downsample_padding": 1,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 6, "layers_per_block": 3, "mid_block_scale_factor": 1,
    "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 3, "resnet_time_scale_shift": "default",
    "sample_size": 256, "time_embedding_type": "positional", "up_block_types": ["ResnetUpsampleBlock2D"] * 4,
}
PRIOR = {
    "additional_embeddings": 4, "attention_head_dim": 64, "dropout": 0.0, "embedding_dim": 768,
    "num_attention_heads": 32, "num_embeddings": 77, "num_layers": 20,
}
TOWER = {
    "attention_dropout": 0.0, "dropout": 0.0, "initializer_factor": 1.0, "initializer_range": 0.02,
    "layer_norm_eps": 1e-05, "torch_dtype": "float32",
}
TEXT_L = {
    **TOWER, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "projection_dim": 768, "hidden_act": "quick_gelu", "vocab_size": 49408, "max_position_embeddings": 77,
    "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "model_type": "clip_text_model",
    "transformers_version": "4.25.1",
}
TEXT_G = {
    **TEXT_L, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280, "hidden_act": "gelu",
}
TEXT_SD = {
    **TEXT_L, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
    "projection_dim": 512, "hidden_act": "gelu",
}
VISION_L = {
    **TOWER, "_name_or_path": "./image_encoder", "hidden_size": 1024, "intermediate_size": 4096,
    "num_hidden_layers": 24, "num_attention_heads": 16, "num_channels": 3, "patch_size": 14, "image_size": 224,
    "projection_dim": 768, "hidden_act": "quick_gelu", "model_type": "clip_vision_model",
    "transformers_version": "4.28.0.dev0",
}
VISION_H = {
    **VISION_L, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "projection_dim": 1024,
    "hidden_act": "gelu",
}
VISION_G = {
    **VISION_L, "_name_or_path": "", "hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48,
    "projection_dim": 1280, "hidden_act": "gelu",
}
STAGE = {"act_fn": "silu", "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
         "out_channels": 3, "scaling_factor": 0.18215}
VAE = {
    **STAGE, "_diffusers_version": "0.15.0.dev0", "_name_or_path": "./vae", "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "sample_size": 768, "up_block_types": ["UpDecoderBlock2D"] * 4,
}
MOVQ = {
    **STAGE, "_diffusers_version": "0.17.0.dev0", "block_out_channels": [128, 256, 256, 512],
    "down_block_types": [*["DownEncoderBlock2D"] * 3, "AttnDownEncoderBlock2D"], "norm_type": "spatial",
    "num_vq_embeddings": 16384, "sample_size": 32,
    "up_block_types": ["AttnUpDecoderBlock2D", *["UpDecoderBlock2D"] * 3], "vq_embed_dim": 4,
}
UNET_SD = {
    "_diffusers_version": "0.15.0.dev0", "_name_or_path": "./unet", "act_fn": "silu",
    "attention_head_dim": [5, 10, 20, 20], "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False,
    "class_embed_type": "projection", "class_embeddings_concat": False, "conv_in_kernel": 3, "conv_out_kernel": 3,
    "cross_attention_dim": 1024, "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "downsample_padding": 1, "dual_cross_attention": False, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4,
    "layers_per_block": 2, "mid_block_scale_factor": 1, "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05,
    "norm_num_groups": 32, "num_class_embeds": None, "only_cross_attention": False, "out_channels": 4,
    "resnet_time_scale_shift": "default", "sample_size": 96, "time_cond_proj_dim": None,
    "time_embedding_type": "positional", "timestep_post_act": None,
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3], "upcast_attention": True,
    "use_linear_projection": True,
}

UNCLIP = {
    "_class_name": "UnCLIPScheduler", "_diffusers_version": "0.11.0.dev0", "clip_sample": True,
    "num_train_timesteps": 1000,
}
# The first file's name tells what loads a part; what has no weights is its JSON alone.
KINDS = {
    "decoder": UNet2DConditionModel, "unet": UNet2DConditionModel, "prior": PriorTransformer,
    "text_proj": UnCLIPTextProjModel, "super_res_first": UNet2DModel, "super_res_last": UNet2DModel,
    "movq": VQModel, "vae": AutoencoderKL, "image_normalizer": StableUnCLIPImageNormalizer,
}

KARLO = {
    "decoder": {
        **CROSS, "block_out_channels": [320, 640, 960, 1280], "in_channels": 3, "out_channels": 6,
        "cross_attention_dim": 1536, "class_embed_type": "identity",
    },
    "text_proj": {
        "clip_embeddings_dim": 768, "clip_extra_context_tokens": 4, "cross_attention_dim": 1536, "time_embed_dim": 1280,
    },
    "super_res_first": SUPER, "super_res_last": {**SUPER, "sample_size": None}, "prior": PRIOR,
    "text_encoder": (CLIPTextModelWithProjection, TEXT_L),
    "prior_scheduler": {
        **UNCLIP, "clip_sample_range": 5.0, "prediction_type": "sample", "variance_type": "fixed_small_log",
    },
    "decoder_scheduler": {
        **UNCLIP, "clip_sample_range": 1.0, "prediction_type": "epsilon", "variance_type": "learned_range",
    },
    "super_res_scheduler": {
        **UNCLIP, "clip_sample_range": 1.0, "prediction_type": "epsilon", "variance_type": "fixed_small_log",
    },
    "tokenizer": "<|endoftext|>",
}
CLIP_L = {".": (CLIPModel, {"text_config": TEXT_L, "vision_config": VISION_L, "projection_dim": 768})}
KANDINSKY_DECODER = {
    "unet": {
        **CROSS, "_diffusers_version": "0.17.0.dev0", "addition_embed_type": "image",
        "addition_embed_type_num_heads": 64, "block_out_channels": [384, 768, 1152, 1536], "class_embed_type": None,
        "class_embeddings_concat": False, "conv_in_kernel": 3, "conv_out_kernel": 3, "cross_attention_dim": 768,
        "cross_attention_norm": None, "encoder_hid_dim": 1280, "encoder_hid_dim_type": "image_proj", "in_channels": 4,
        "mid_block_only_cross_attention": None, "out_channels": 8, "projection_class_embeddings_input_dim": None,
        "resnet_out_scale_factor": 1.0, "resnet_skip_time_act": False, "time_cond_proj_dim": None,
        "time_embedding_act_fn": None, "time_embedding_dim": None, "time_embedding_type": "positional",
        "timestep_post_act": None,
    },
    "movq": MOVQ,
    "scheduler": {
        "_class_name": "DDPMScheduler", "_diffusers_version": "0.17.0.dev0", "num_train_timesteps": 1000,
        "beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": True,
        "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "epsilon", "thresholding": False,
    },
}
KANDINSKY_INPAINTING = {**KANDINSKY_DECODER, "unet": {**KANDINSKY_DECODER["unet"], "in_channels": 9}}
KANDINSKY_PRIOR = {
    "prior": {**PRIOR, "_diffusers_version": "0.17.0.dev0", "embedding_dim": 1280},
    # Written by hand, with "architectures" twice, the second time null.
    "image_encoder": (CLIPVisionModelWithProjection, {**VISION_G, "architectures": None}),
    "text_encoder": (CLIPTextModelWithProjection, {**TEXT_G, "architectures": None}),
    "image_processor": {
        "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN, "image_std": STD, "resample": 3,
        "size": 224,
    },
    "scheduler": {
        **UNCLIP, "_diffusers_version": "0.17.0.dev0", "clip_sample_range": 10.0, "prediction_type": "sample",
        "variance_type": "fixed_small_log",
    },
    "tokenizer": "<|endoftext|>",
}


def stable(vision: dict) -> dict:
    """Stable unCLIP on one of its two CLIPs."""
    width = vision["projection_dim"]
    clipping = {
        "_diffusers_version": "0.15.0.dev0", "clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995,
        "num_train_timesteps": 1000, "sample_max_value": 1.0, "thresholding": False, "trained_betas": None,
    }
    return {
        "unet": {**UNET_SD, "projection_class_embeddings_input_dim": 2 * width}, "vae": VAE,
        "image_encoder": (CLIPVisionModelWithProjection, vision), "text_encoder": (CLIPTextModel, TEXT_SD),
        "image_normalizer": {"_diffusers_version": "0.15.0.dev0", "embedding_dim": width}, "tokenizer": "!",
        "feature_extractor": {
            "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_convert_rgb": True,
            "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": MEAN,
            "image_processor_type": "CLIPImageProcessor", "image_std": STD, "resample": 3,
            "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224},
        },
        "image_noising_scheduler": {
            **clipping, "_class_name": "DDPMScheduler", "beta_end": 0.02, "beta_schedule": "squaredcos_cap_v2",
            "beta_start": 0.0001, "clip_sample": True, "prediction_type": "epsilon", "variance_type": "fixed_small",
        },
        "scheduler": {
            **clipping, "_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "beta_start": 0.00085, "clip_sample": False, "prediction_type": "v_prediction", "set_alpha_to_one": False,
            "skip_prk_steps": True, "steps_offset": 1,
        },
    }


def of(kind: str, library: str = "diffusers") -> list[str]:
    return [library, kind]


SCHEDULED, DREAMED = of("UnCLIPScheduler"), of("DDPMScheduler")
TEXT, IMAGE = (of(f"CLIP{kind}ModelWithProjection", "transformers") for kind in ("Text", "Vision"))
TOKENS, PROCESSOR = of("CLIPTokenizer", "transformers"), of("CLIPImageProcessor", "transformers")
SD_INDEX = {
    "_class_name": "StableUnCLIPImg2ImgPipeline", "_diffusers_version": "0.15.0.dev0", "feature_extractor": PROCESSOR,
    "image_encoder": IMAGE, "image_noising_scheduler": DREAMED,
    "image_normalizer": of("StableUnCLIPImageNormalizer", "stable_diffusion"), "scheduler": of("PNDMScheduler"),
    "text_encoder": of("CLIPTextModel", "transformers"), "tokenizer": TOKENS, "unet": of("UNet2DConditionModel"),
    "vae": of("AutoencoderKL"),
}
# Repository -> its parts and its index, with the names that modules had when it was written.
REPOSITORIES = {
    "karlo-v1-alpha": (KARLO, {
        "_class_name": "UnCLIPPipeline", "_diffusers_version": "0.11.0.dev0", "decoder": of("UNet2DConditionModel"),
        "decoder_scheduler": SCHEDULED, "prior": of("PriorTransformer"), "prior_scheduler": SCHEDULED,
        "super_res_first": of("UNet2DModel"), "super_res_last": of("UNet2DModel"), "super_res_scheduler": SCHEDULED,
        "text_encoder": TEXT, "text_proj": of("UnCLIPTextProjModel", "unclip"), "tokenizer": TOKENS,
    }),
    "clip-vit-large-patch14": (CLIP_L, None),
    "kandinsky-2-2-decoder": (KANDINSKY_DECODER, {
        "_class_name": "KandinskyV22Pipeline", "_diffusers_version": "0.17.0.dev0", "movq": of("VQModel"),
        "scheduler": DREAMED, "unet": of("UNet2DConditionModel"),
    }),
    "kandinsky-2-2-decoder-inpaint": (KANDINSKY_INPAINTING, {
        "_class_name": "KandinskyV22InpaintPipeline", "_diffusers_version": "0.17.0.dev0", "movq": of("VQModel"),
        "scheduler": DREAMED, "unet": of("UNet2DConditionModel"),
    }),
    "kandinsky-2-2-prior": (KANDINSKY_PRIOR, {
        "_class_name": "KandinskyV22PriorPipeline", "_diffusers_version": "0.17.0.dev0", "image_encoder": IMAGE,
        "image_processor": PROCESSOR, "prior": of("PriorTransformer"), "scheduler": SCHEDULED, "text_encoder": TEXT,
        "tokenizer": TOKENS,
    }),
    "stable-diffusion-2-1-unclip": (stable(VISION_H), SD_INDEX),
    "stable-diffusion-2-1-unclip-small": (stable(VISION_L), SD_INDEX),
}
# Bytes of JSON files as the hub lists them; Kandinsky's end without a newline, and two of them lack spaces.
JSON_SIZES = {
    ("karlo-v1-alpha", "."): 734, ("karlo-v1-alpha", "prior_scheduler"): 229,
    ("karlo-v1-alpha", "decoder_scheduler"): 228, ("karlo-v1-alpha", "super_res_scheduler"): 230,
    ("kandinsky-2-2-decoder", "."): 250 + 1, ("kandinsky-2-2-decoder", "unet"): 1665 + 1,
    ("kandinsky-2-2-decoder", "movq"): 660, ("kandinsky-2-2-prior", "."): 501 + 2,
    ("kandinsky-2-2-prior", "prior"): 252 + 1, ("kandinsky-2-2-prior", "scheduler"): 229 + 1,
    ("kandinsky-2-2-prior", "image_processor"): 315 + 1,
    ("stable-diffusion-2-1-unclip", "."): 707, ("stable-diffusion-2-1-unclip", "vae"): 610,
    ("stable-diffusion-2-1-unclip", "scheduler"): 470, ("stable-diffusion-2-1-unclip-small", "image_encoder"): 565,
    ("stable-diffusion-2-1-unclip-small", "image_noising_scheduler"): 424,
    ("stable-diffusion-2-1-unclip-small", "feature_extractor"): 466,
    ("stable-diffusion-2-1-unclip-small", "."): 707,
}

TINY_TEXT = {
    "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 32,
    "vocab_size": 514,
}
TINY_VISION = {**TINY_TEXT, "hidden_size": 48, "patch_size": 8, "image_size": 32}
TINY_CROSS = {
    "down_block_types": CROSS["down_block_types"][:2], "up_block_types": CROSS["up_block_types"][2:],
    "block_out_channels": [32, 64], "layers_per_block": 1, "attention_head_dim": 8, "sample_size": 8,
}
TINY_STAGE = {"block_out_channels": [32, 64], "layers_per_block": 1, "num_vq_embeddings": 12}
TINY = {
    "decoder": {**TINY_CROSS, "cross_attention_dim": 40}, "prior": {
        "attention_head_dim": 8, "num_attention_heads": 2, "num_layers": 2, "embedding_dim": 32,
    },
    "text_proj": {"clip_embeddings_dim": 32, "cross_attention_dim": 40, "time_embed_dim": 128},
    "super_res_first": {
        "down_block_types": SUPER["down_block_types"][:2], "up_block_types": SUPER["up_block_types"][:2],
        "block_out_channels": [32, 64], "layers_per_block": 1, "sample_size": 16,
    },
    "unet": {**TINY_CROSS, "cross_attention_dim": 24, "encoder_hid_dim": 32},
    "movq": {**TINY_STAGE, "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
             "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"]},
    "vae": {**TINY_STAGE, "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2},
    "image_normalizer": {"embedding_dim": 32},
}
TINY["super_res_last"] = {**TINY["super_res_first"], "sample_size": None}
TINY_SD = {
    "block_out_channels": [32, 64], "attention_head_dim": [2, 4], "cross_attention_dim": 32, "layers_per_block": 1,
    "projection_class_embeddings_input_dim": 64, "sample_size": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
# fmt: on


def text_of(kind: type | None, config: dict) -> str:
    """A part's JSON as its library writes it."""
    if kind is None:
        written = config
    elif kind.__name__.startswith("CLIP"):
        written = {"architectures": [kind.__name__], **config}
    else:
        written = {"_class_name": kind.__name__, "_diffusers_version": "0.11.0.dev0", **config}
    return json.dumps(written, indent=2, sort_keys=True) + "\n"


def published(repository: str, part: str) -> str:
    """The JSON of a part as published, "." for the index."""
    configs, index = REPOSITORIES[repository]
    if part == ".":
        return text_of(None, index)
    config = configs[part]
    kind, config = config if isinstance(config, tuple) else (KINDS.get(part), config)
    return text_of(kind, config)


def config_of(part: str, config, *, tiny: bool) -> tuple[type, dict]:
    """A part's class and its config, as published or shrunk."""
    if isinstance(config, tuple):
        kind, config = config
        if tiny and kind is CLIPModel:
            text, vision = config["text_config"] | TINY_TEXT, config["vision_config"] | TINY_VISION
            return kind, {"text_config": text, "vision_config": vision, "projection_dim": 32}
        return kind, config | ((TINY_VISION if "patch_size" in config else TINY_TEXT) if tiny else {})
    small = TINY_SD if config.get("class_embed_type") == "projection" else TINY[part]
    return KINDS[part], {key: small.get(key, value) for key, value in config.items()} if tiny else config


def build(kind: type, config: dict) -> torch.nn.Module:
    """A network with random weights."""
    about = ("architectures", "model_type", "torch_dtype", "transformers_version")  # not of the network
    config = {key: value for key, value in config.items() if key not in about}
    if kind is CLIPModel:
        return kind(CLIPConfig(**config))
    if kind.__name__.startswith("CLIP"):
        return kind((CLIPVisionConfig if "patch_size" in config else CLIPTextConfig)(**config))
    return kind.from_config(config)


def parts(repository: str, *, tiny: bool):
    """Each part with weights: its name, class and config."""
    assert repository in REPOSITORIES, f"REPOSITORIES has no {repository}: add its parts with their published configs"
    for part, config in REPOSITORIES[repository][0].items():
        if isinstance(config, tuple) or part in KINDS:
            yield part, *config_of(part, config, tiny=tiny)


class Unread:
    """What `latentlab.models.checkpoint.Checkpoint` is to a family's `load`, with random weights and no files.

    Args:
        tiny: shrunk, or at full size.
        tokenizer: a folder that `write_tokenizer` wrote.
    """

    weights = "random"

    def __init__(self, row, user_folder, *, device, dtype=None, offload=None, tiny: bool, tokenizer: Path):
        self.folders = {source.role: source for source in row.sources}
        self.device, self.dtype, self.tiny, self.words = device, dtype or torch.float32, tiny, tokenizer
        self.networks = []

    def network(self, kind: type, role: str, part: str, *, stays: bool = False) -> torch.nn.Module:
        source = self.folders[role]
        configs = {name: config for name, _, config in parts(source.name, tiny=self.tiny)}
        with self.device:
            network = build(kind, configs["."]["vision_config"] if source.flat else configs[part])
        self.networks.append(network.eval().requires_grad_(False).to(self.dtype))
        return network

    def tokenizer(self, role: str, part: str) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(self.words)

    def config(self, role: str, part: str, file: str) -> dict:
        return {}

    def scheduler(self, role: str, part: str) -> dict:
        return REPOSITORIES[self.folders[role].name][0][part]


@torch.no_grad()
def write(folder: Path, repository: str, seed: int = 0) -> Path:
    """A tiny checkpoint in a repository's layout, beside every safetensors file a pickle that must not be read."""
    folder = folder / repository
    configs, index = REPOSITORIES[repository]
    folder.mkdir(parents=True)
    if index:
        (folder / "model_index.json").write_text(text_of(None, index))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for part, kind, config in parts(repository, tiny=True):
            network = build(kind, config)
            for weight in network.parameters():
                if weight.unique().numel() == 1 and weight.numel() > 1:
                    weight += 0.1 * torch.randn_like(weight)
            if part in (
                "decoder",
                "unet",
            ):  # gentle, as trained ones are: a step of an inversion has to be a contraction
                network.conv_out.weight *= 0.02
            if kind is PriorTransformer:  # a spread is positive
                network.clip_std.copy_(0.5 + torch.rand_like(network.clip_std))
            if kind is StableUnCLIPImageNormalizer:
                network.std.copy_(0.5 + torch.rand_like(network.std))
            stem = "model" if kind.__name__.startswith("CLIP") else "diffusion_pytorch_model"
            (folder / part).mkdir(exist_ok=True)
            state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            if stem == "model":  # buffers that old versions of transformers saved
                tower = "text_model" if "vocab_size" in config and "patch_size" not in config else "vision_model"
                state[f"{tower}.embeddings.position_ids"] = torch.arange(77)[None]
            save_file(state, folder / part / f"{stem}.safetensors", metadata={"format": "pt"})
            name = "pytorch_model.bin" if stem == "model" else f"{stem}.bin"
            (folder / part / name).write_bytes(b"a pickle that must not be read")
            (folder / part / "config.json").write_text(text_of(kind, config))
    for part, config in configs.items():
        if isinstance(config, dict) and part not in KINDS:
            (folder / part).mkdir(exist_ok=True)
            name = "preprocessor_config" if part.endswith(("processor", "extractor")) else "scheduler_config"
            (folder / part / f"{name}.json").write_text(text_of(None, config))
        elif isinstance(config, str):
            write_tokenizer(folder / part, pad=config)
    return folder


def write_tokenizer(folder: Path, pad: str) -> None:
    """CLIP's byte-pair tokenizer without a single merge: every letter is a token."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(tokens)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad,
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    settings = {
        **special,
        "model_max_length": 77,
        "do_lower_case": True,
        "add_prefix_space": False,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@torch.no_grad()
def write_open_clip(folder: Path) -> Path:
    """A tiny whole CLIP in open_clip's layout, for the family whose checkpoint has no z_t."""
    import open_clip

    model = {
        "embed_dim": 32,
        "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    folder = folder / "open_clip"
    folder.mkdir(parents=True)
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    text = json.dumps({"model_cfg": model, "preprocess_cfg": preprocess})
    (folder / "open_clip_config.json").write_text(text)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = open_clip.CLIP(**model).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors")
    return folder


def write_all(folder: Path) -> Path:
    """Tiny copies of every repository, each under its own name."""
    for repository in REPOSITORIES:
        write(folder, repository)
    write_open_clip(folder)
    return folder


if __name__ == "__main__":
    print(write_all(Path(sys.argv[1])))
