from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.adversarial import dcgan, gan
from gencli.models.adversarial.configs import DCGANConfig, GANConfig
from gencli.models.adversarial.game import (
    cross_entropy,
    non_saturating,
    relativistic,
    two_players,
    zero_centred_penalty,
)
from gencli.models.adversarial.networks import Discriminator, Generator, base_map
from gencli.models.interface import Batch, Step


@pytest.mark.parametrize(
    ("side", "expected"),
    [(28, (2, 7, 7)), (32, (3, 4, 4)), (64, (4, 4, 4)), (24, (2, 6, 6)), (8, (1, 4, 4))],
)
def test_sides_are_halved_down_to_a_small_map(side: int, expected: tuple[int, int, int]):
    assert base_map(DataInfo(1, side, side)) == expected


@pytest.mark.parametrize(("h", "w"), [(27, 27), (30, 30), (4, 4), (28, 27), (16, 256)])
def test_sides_that_do_not_halve_are_refused(h: int, w: int):
    with pytest.raises(UsageError, match=f"{h}x{w}"):
        base_map(DataInfo(1, h, w))


@pytest.mark.parametrize("network", ["conv", "mlp"])
@pytest.mark.parametrize(
    ("channels", "h", "w"), [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 16, 8)]
)
@pytest.mark.parametrize("kernel", [4, 5])
@torch.no_grad()
def test_networks_fit_the_data(network: str, channels: int, h: int, w: int, kernel: int):
    data = DataInfo(channels, h, w)
    images = Generator(network, 6, 8, data, kernel=kernel)(torch.randn(4, 6))
    assert images.shape == (4, channels, h, w)
    assert 0 < float(images.min()) < float(images.max()) < 1
    assert Discriminator(network, 4, data, kernel=kernel)(images).shape == (4,)


@pytest.mark.parametrize(("hidden", "dense", "convolutions"), [(0, 1, 3), (8, 2, 2)])
def test_a_hidden_dense_layer_stands_for_the_last_convolution(hidden, dense, convolutions):
    """With 28 pixels a side, one of the two must see the whole image."""
    network = Discriminator("conv", 4, DataInfo(1, 28, 28), hidden=hidden, batch_norm=True)
    kinds = [type(m) for m in network.modules()]
    assert (kinds.count(nn.Linear), kinds.count(nn.Conv2d)) == (dense, convolutions)
    n_norms = kinds.count(nn.BatchNorm1d) + kinds.count(nn.BatchNorm2d)
    assert n_norms == 2  # all but the first layer and the last
    assert network.apart
    assert network.head.in_features == (hidden or 3 * 3 * 16)


def test_a_generator_has_as_many_dense_layers_as_asked_for():
    data = DataInfo(1, 28, 28)
    network = Generator("conv", 6, 8, data, hidden=10, n_hidden=3)
    widths = [(m.in_features, m.out_features) for m in network.modules() if type(m) is nn.Linear]
    assert widths == [(6, 10), (10, 10), (10, 10), (10, 8 * 7 * 7)]
    assert network(torch.randn(4, 6)).shape == (4, 1, 28, 28)


def test_dcgan_reaches_the_size_of_the_benchmark():
    """A dense 7x7x256 map and two 5x5 transposed convolutions."""
    config = DCGANConfig(width=256, kernel=5, hidden=0)
    layers = dcgan.DCGAN(config, DataInfo(1, 28, 28)).G.layers
    up = [m for m in layers if isinstance(m, nn.ConvTranspose2d)]
    assert layers[0].out_features == 7 * 7 * 256
    assert [(m.in_channels, m.out_channels, m.kernel_size) for m in up] == [
        (256, 128, (5, 5)),
        (128, 1, (5, 5)),
    ]


def test_the_discriminator_sees_augmented_images_alone():
    data = DataInfo(1, 8, 8)
    generator, discriminator = Generator("mlp", 4, 4, data), Discriminator("mlp", 4, data)
    grey = torch.full((1, 1, 8, 8), 0.25)
    updates = two_players(
        generator, discriminator, 4, augment=lambda x: 0 * x + 0.25,
        discriminator_loss=lambda d_real, d_fake: torch.stack([d_real, d_fake]).mean(),
        generator_loss=lambda d_fake: d_fake.mean(),
    )  # fmt: skip
    step = Step()
    for update in updates:
        total = update.loss(Batch(torch.rand(6, 1, 8, 8)), step).total
        torch.testing.assert_close(total, discriminator(grey).squeeze())


def test_cross_entropy_is_that_of_two_classes_with_one_target_smoothed():
    real, fake = torch.randn(2, 50, dtype=torch.float64) * 3
    expected = F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9))
    expected += F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(cross_entropy(real, fake, smoothing=0.1), expected)
    ones = torch.ones_like(fake)
    torch.testing.assert_close(non_saturating(fake), F.binary_cross_entropy_with_logits(fake, ones))


def test_smoothing_moves_the_optimum_for_real_images_alone():
    logit = torch.tensor([0.9]).logit().requires_grad_()
    cross_entropy(logit, torch.full((1,), -50.0), smoothing=0.1).backward()
    torch.testing.assert_close(logit.grad, torch.zeros(1), atol=1e-6, rtol=0)


def test_a_relativistic_game_is_about_differences():
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    expected = -(real - fake).sigmoid().log().mean()
    torch.testing.assert_close(relativistic(real, fake), expected)
    options = {"objective": "relativistic", "batch_norm": False, "width": 8, "d_width": 4}
    model = dcgan.DCGAN(DCGANConfig(**options, hidden=4), DataInfo(1, 8, 8))
    first, second = model.updates()
    step, batch = Step(), Batch(torch.rand(6, 1, 8, 8))
    loss = first.loss(batch, step).total
    d_real, d_fake = model.D(batch.images), model.D(step.shared["fake"])
    torch.testing.assert_close(loss, -(d_real - d_fake).sigmoid().log().mean())
    loss = second.loss(batch, step).total
    torch.testing.assert_close(loss, -(d_fake - d_real).sigmoid().log().mean())
    (gradient,) = torch.autograd.grad(loss, model.D.head.bias)
    assert gradient.abs() > 0  # through D(G(z)) alone: D(x) is that of D's own update


@pytest.mark.parametrize(("r1", "r2", "expected"), [(3, 0, 54), (0, 4, 72), (3, 4, 126)])
def test_penalties_of_a_linear_discriminator(r1: float, r2: float, expected: float):
    """D(x, y) = e(y) <w, x> with |w| = 1 and e(y) = 6 has a gradient of norm 6 everywhere."""
    w = F.normalize(torch.randn(64), dim=0)

    def linear(x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        return told * (x.flatten(1) @ w)

    real, made = torch.rand(2, 8, 1, 8, 8)
    penalty = zero_centred_penalty(linear, r1, r2, real, made, torch.full((8,), 6.0))
    torch.testing.assert_close(penalty, torch.tensor(float(expected)))


def test_spectral_norm_is_one_in_every_layer():
    torch.manual_seed(0)
    network = Discriminator("conv", 4, DataInfo(1, 16, 16), spectral=True, n_classes=3)
    for _ in range(100):  # one step of the power iteration each
        network(torch.rand(2, 1, 16, 16), torch.tensor([0, 2]))
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding)]
    assert len(layers) == 4
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert float(norm) == pytest.approx(1, abs=0.02)


@torch.no_grad()
def test_the_label_enters_the_discriminator_by_projection():
    network = Discriminator("mlp", 8, DataInfo(1, 8, 8), n_classes=3)
    x, y = torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    phi = network.features(2 * x - 1)
    weight = network.head.weight[0] + network.embedding.weight[y]
    torch.testing.assert_close(network(x, y), (weight * phi).sum(1) + network.head.bias)


@torch.no_grad()
def test_a_conditional_generator_heeds_the_label():
    network = Generator("mlp", 4, 8, DataInfo(1, 8, 8), n_classes=3).eval()
    z = torch.randn(1, 4).expand(3, 4)
    images = network(z, torch.tensor([0, 1, 0]))
    assert images[0].equal(images[2])
    assert not images[0].equal(images[1])


def test_the_discriminator_moves_first_and_as_often_as_asked():
    config = GANConfig(width=4, d_width=4, d_steps=3, d_lr_scale=2.0)
    first, second = gan.GAN(config, DataInfo(1, 8, 8)).updates()
    assert (first.name, first.repeat, first.ema) == ("discriminator", 3, False)
    assert (second.name, second.repeat, second.ema) == ("generator", 1, True)
    assert (first.optimizer.lr_scale, second.optimizer.lr_scale) == (2.0, 1.0)


def test_the_discriminators_loss_reports_both_means_and_the_penalty():
    data = DataInfo(1, 8, 8)
    generator, discriminator = Generator("mlp", 4, 4, data), Discriminator("mlp", 4, data)
    seen = {}

    def penalty(real: torch.Tensor, made: torch.Tensor, told: None) -> torch.Tensor:
        seen.update(real=real, fake=made)
        return torch.tensor(10.0)

    torch.manual_seed(1)
    update, _ = two_players(
        generator, discriminator, 4, penalty=penalty, output=lambda d: d,
        discriminator_loss=lambda d_real, d_fake: (d_fake - d_real).mean(),
        generator_loss=lambda d_fake: -d_fake.mean(),
    )  # fmt: skip
    batch = Batch(torch.rand(6, 1, 8, 8))
    step = Step()
    loss = update.loss(batch, step)
    assert step.shared["fake"].requires_grad  # what the generator's update takes
    assert not seen["fake"].requires_grad
    assert seen["real"].equal(batch.images)
    d_real, d_fake = discriminator(batch.images).mean(), discriminator(seen["fake"]).mean()
    torch.testing.assert_close(loss.total, d_fake - d_real + 10)
    torch.testing.assert_close(loss.metrics["d_real"], d_real.detach())
    torch.testing.assert_close(loss.metrics["d_fake"], d_fake.detach())
    assert float(loss.metrics["penalty"]) == 10


@pytest.mark.parametrize("module", [gan, dcgan])
def test_the_game_is_won_by_imitation(module):
    """Images bright on the left or on the right: the generator learns both kinds."""
    torch.manual_seed(0)
    model_class = {gan: gan.GAN, dcgan: dcgan.DCGAN}[module]
    options = {} if module is gan else {"hidden": 0}  # two images are too few for dense layers
    config_class = {gan: GANConfig, dcgan: DCGANConfig}[module]
    config = config_class(latent_dim=4, width=16, d_width=8, d_lr_scale=1, **options)
    model = model_class(config, DataInfo(1, 8, 8)).train()
    updates = model.updates()
    optimizers = [torch.optim.Adam(u.parameters, 2e-3, betas=(0.5, 0.999)) for u in updates]
    left = torch.zeros(1, 8, 8)
    left[:, :, :4] = 1
    kinds = torch.stack([left, 1 - left])
    for _ in range(200):
        batch, step = Batch(kinds[torch.randint(2, (64,))]), Step()
        for update, optimizer in zip(updates, optimizers, strict=True):
            optimizer.zero_grad()
            update.loss(batch, step).total.backward(inputs=update.parameters)
            optimizer.step()
    with torch.no_grad():
        images = model.eval().decode(torch.randn(200, 4))
    distances = (images[:, None] - kinds).abs().mean((2, 3, 4))  # (200, 2)
    nearest = distances.min(1)
    assert float(nearest.values.mean()) < 0.2  # the mean of both kinds is 0.5 from either
    share = float(nearest.indices.float().mean())
    assert 0.1 < share < 0.9
