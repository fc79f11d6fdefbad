"""The parts of the embedded miniature, tiny and with random weights, laid out as the shipped ones."""

import copy
import hashlib
import json
import shutil

import open_clip
import torch
from safetensors.torch import save_file

from latentlab.training.clip import MODEL, write_config


def write_clip(folder):
    """An open_clip model of 32 pixels and width 24 with Emoji World's tokenizer."""
    model = copy.deepcopy(MODEL)
    model["embed_dim"] = 24
    model["vision_cfg"] |= {"image_size": 32, "width": 8, "head_width": 16}
    model["text_cfg"] |= {"width": 16, "heads": 2, "layers": 1}
    config = write_config(folder, model)
    config["text_cfg"]["hf_tokenizer_name"] = None
    config.pop("custom_text")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.CustomTextCLIP(**config)
    # A channel mixed up with another shows only if their mean and std are not the same, as the miniature's are.
    text = json.loads((folder / "open_clip_config.json").read_text())
    text["preprocess_cfg"] |= {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    (folder / "open_clip_config.json").write_text(json.dumps(text))
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "open_clip_model.safetensors")


def write(folder, clip_folder):
    """All parts: a copy of the CLIP, and the others."""
    from latentlab.models import dvae, gpt2
    from latentlab.training import autoencoder, decoder, prior, upsampler

    shutil.copytree(clip_folder, folder / "clip")
    words = len(json.loads((clip_folder / "tokenizer.json").read_text())["model"]["vocab"])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        parts = {
            "autoencoder": autoencoder.build((8, 16, 16, 16), (0, 1, 1, 1), 4),
            "decoder": decoder.build(8, 1, 4, width=48, layers=1, embed=24, text=16),
            "prior": prior.build(width=48, layers=1, embed=24),
            "upsampler": upsampler.build((8, 16), scale=2),
            "dvae": dvae.LatentQuantizer((5, 4), channels=4, width=8, layers=1),
            "dalle": gpt2.build(vocabulary=words + 20, positions=20 + 64, width=16, layers=1, heads=1),
        }
        for weight in parts["decoder"].parameters():  # which starts at zero, deaf to every condition
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
        for weight in parts["dalle"].parameters():  # whose tokens would all be equally likely
            weight.data *= 8
    parts["prior"].clip_mean.data += 0.1
    parts["prior"].clip_std.data += 0.5
    for name, network in parts.items():
        network.save_pretrained(folder / name)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    digests = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "MANIFEST.json").write_text(json.dumps({"sha256": digests}))
