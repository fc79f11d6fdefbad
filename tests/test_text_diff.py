"""Text diffs: the first frame, several targets, directions, and refusals."""

from __future__ import annotations

import pytest
import torch
from conftest import spied_lab, toy_pictures

from latentlab import UserError, experiments
from latentlab.io import images

SMALL_RUN = {"picture": toy_pictures(1), "targets": ["a cat", "a dog"], "thetas": 3, "steps": 2}


def test_the_first_frame_of_a_text_diff_reconstructs_for_every_target(lab, inversion):
    result = experiments.diff(lab, inversion.row(0), ["a cat", "a dog"], thetas=3)
    first = inversion.original[:1].expand(2, -1, -1, -1)
    assert (images.psnr(result.pixels[:, 0], first) > 50).all()
    assert result.thetas == (0.0, 0.25, 0.5)


def test_several_targets_in_one_batch_are_the_same_as_each_alone(lab, inversion):
    both = experiments.diff(lab, inversion.row(0), ["a cat", "a dog"], thetas=[0.2, 0.4])
    alone = experiments.diff(lab, inversion.row(0), "a dog", thetas=[0.2, 0.4])
    torch.testing.assert_close(both.pixels[1], alone.pixels[0], atol=1 / 255, rtol=0)
    assert both.value("drift", target="a dog", theta=0.4) == alone.value("drift", target="a dog", theta=0.4)


def test_the_embedding_of_an_edited_picture_moves_along_z_d(lab, inversion):
    # The toy's pictures show z_i faithfully, so the change of the picture's embedding has to go along z_d.
    result = experiments.diff(lab, inversion.row(0), "a cat", thetas=[0.0, 0.5])
    assert result.value("directional similarity", target="a cat", theta=0.5) > 0.5
    cosines = [result.value("cosine to the target", target="a cat", theta=t) for t in (0.0, 0.5)]
    assert cosines[1] > cosines[0]


def test_a_text_diff_refuses_equal_captions_and_no_target(lab, inversion):
    with pytest.raises(UserError, match="caption"):
        experiments.diff(lab, inversion.row(0), "a cat", source="a cat")
    with pytest.raises(UserError, match="targets is empty"):
        experiments.diff(lab, inversion.row(0), [])


@pytest.mark.parametrize(
    ("targets", "params", "message"),
    [
        ("a cat", {"thetas": [1.5]}, "theta"),
        ("a cat", {"thetas": [0.2, 0.2]}, "each of them once"),
        (["a dog", "a dog"], {}, "each of them once"),
        ("a red quokka", {"source": "a red wombat"}, "say the same.*does not know “quokka”"),
        ("a quokka", {"source": "a cat"}, "does not know “quokka”: write of what it knows"),
    ],
)
def test_a_text_diff_checks_its_arguments_before_it_inverts(miniature, targets, params, message):
    watched, spy = spied_lab(miniature)
    with pytest.raises(UserError, match=message):
        experiments.diff(watched, toy_pictures(1, 64), targets, **params)
    assert not spy.calls


def test_the_frame_that_all_targets_share_is_decoded_once(lab, inversion):
    watched, spy = spied_lab(lab)
    result = experiments.diff(watched, inversion.row(0), ["a cat", "a dog", "a fox"], thetas=[0.0, 0.2, 0.4])
    assert {rows for rows, _, _ in spy.calls} == {1 + 3 * 2}
    own = [result.value("drift", target=t, theta=0.4) for t in result.targets]
    (overall,) = (row for row in result.table if row["quantity"] == "mean drift" and row["theta"] == 0.4)
    assert (
        overall["n"] == 3
        and overall["value"] == pytest.approx(sum(own) / 3, rel=1e-4)
        and overall["low"] < overall["high"]
    )
    assert torch.equal(result.pixels[0, 0], result.pixels[2, 0])
    frames = experiments.diff(lab, inversion.row(0), "a cat", thetas=6)
    assert frames.value("drift", target="a cat", theta=0.4) > frames.value("drift", target="a cat", theta=0.1) > 0
    assert "(+1 is the same direction" in frames.summary()
    assert "nothing changes" in experiments.diff(lab, inversion.row(0), "a cat", thetas=[0.0]).summary()
