"""The prior in training: it is measured and shown as the library samples it."""

from __future__ import annotations

import torch

from latentlab.training.pools import Pool
from latentlab.training.prior import Prior, build


def test_a_prior_in_training_is_measured_on_captions_of_every_thing(miniature, sprites):
    pool = Pool.build(sprites, miniature.encoder, None, first=0, count=96, side=8)
    part = Prior(miniature.encoder, pool, pool)
    mean, std = part.network.clip_mean, part.network.clip_std
    part.network = build(width=48, layers=1, embed=pool.z_i.shape[1])
    part.network.clip_mean.data, part.network.clip_std.data = mean.data, std.data
    part.batch = 8
    part.loss(0).backward()
    with torch.no_grad():
        measured = part.measure(part.network.eval())
    assert measured["held_out_x0_loss"] > 0
    assert 0 <= measured["top1_of_sampled"] <= 1
    assert part.preview(part.network).size == (1024, 256)
