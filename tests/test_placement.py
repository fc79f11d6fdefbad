"""The middle of a thing follows the thing, on any background."""

import pytest
import torch

from latentlab.analysis.placement import centre
from latentlab.errors import UserError


@pytest.mark.parametrize("ground", [(-1.0, -1.0, -1.0), (0.2, 0.9, -0.4)])
@pytest.mark.parametrize(("left", "right"), [(0, 9), (12, 28), (31, 40)])
def test_the_middle_of_a_spot_is_that_of_its_columns(ground, left, right):
    pixels = torch.tensor(ground).view(1, 3, 1, 1).repeat(2, 1, 24, 40)
    pixels[:, 2, 8:16, left:right] = 1
    torch.testing.assert_close(centre(pixels), torch.full((2,), (left + right) / 80))


def test_a_picture_without_a_thing_has_its_middle_in_the_middle():
    assert centre(torch.zeros(1, 3, 8, 8)).tolist() == [0.5]


def test_one_picture_without_its_batch_is_refused():
    with pytest.raises(UserError, match=r"pixels are \(3, 8, 8\)"):
        centre(torch.zeros(3, 8, 8))
