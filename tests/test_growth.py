"""A larger network that starts with the weights of a smaller one computes the same."""

import torch

from latentlab.training import autoencoder
from latentlab.training.growth import deepened, widened


def test_further_blocks_of_a_deepened_image_tower_start_as_the_identity():
    from open_clip.modified_resnet import ModifiedResNet

    def tower(layers):
        return ModifiedResNet(layers=layers, output_dim=8, heads=4, image_size=64, width=8).eval()

    shallow, deep = tower((1, 1, 1, 1)), tower((1, 2, 3, 2))
    deep.load_state_dict(deepened(shallow.state_dict(), deep))
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(deep(pixels), shallow(pixels))
        for parameter in deep.layer3[1].bn3.parameters():
            parameter += 0.5
        assert not torch.allclose(deep(pixels), shallow(pixels))


def test_a_widened_first_stage_decodes_as_the_narrower_one():
    size = {"channels": (8, 8, 16, 32), "layers": (0, 1, 1, 1)}
    torch.manual_seed(0)
    old, new = autoencoder.build(**size, latent=4), autoencoder.build(**size, latent=6)
    new.load_state_dict(widened({k: v.clone() for k, v in old.state_dict().items()}, new))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        z_old, z_new = old.encode(x).latent, new.encode(x).latent
        torch.testing.assert_close(z_new[:, :4], z_old)
        assert z_new[:, 4:].std() > 0.1
        torch.testing.assert_close(new.decode(z_new).sample, old.decode(z_old).sample, atol=1e-4, rtol=1e-4)
