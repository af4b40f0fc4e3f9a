from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from gencli import registry
from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.adversarial import cgan, lsgan, wgan, wgan_gp
from gencli.models.adversarial.configs import CGANConfig, LSGANConfig, WGANConfig, WGANGPConfig
from gencli.models.adversarial.game import wasserstein_critic_loss, wasserstein_generator_loss
from gencli.models.build import make
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

DATA = DataInfo(1, 8, 8, ("a", "b", "c"))
SMALL = {"network": "mlp", "latent_dim": 3, "width": 4, "d_width": 4}


def images(n: int = 6) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_wasserstein_losses_are_differences_of_means():
    d_real, d_fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, -1.0])
    assert float(wasserstein_critic_loss(d_real, d_fake)) == -2.5
    assert float(wasserstein_generator_loss(d_fake)) == 0.5


def test_wgan_clips_the_critics_weights_and_no_others():
    model = wgan.WGAN(WGANConfig(**SMALL, clip=0.02), DATA)
    before = [p.clone() for p in model.G.parameters()]
    critic, generator = model.updates()
    assert (critic.repeat, generator.after) == (5, None)
    with torch.no_grad():
        critic.after()
    assert max(float(p.detach().abs().max()) for p in model.D.parameters()) <= 0.02
    after = list(model.G.parameters())
    assert all(a.equal(b) for a, b in zip(after, before, strict=True))


def test_wgan_with_spectral_norm_does_not_clip():
    critic, _ = wgan.WGAN(WGANConfig(**SMALL, spectral_norm=True), DATA).updates()
    assert critic.after is None


@pytest.mark.parametrize("slope", [0.5, 3.0])
def test_gradient_penalty_of_a_linear_critic(slope: float):
    """f(x) = slope <e, x> with |e| = 1 has a gradient of norm `slope` everywhere."""
    model = wgan_gp.WGANGP(WGANGPConfig(**SMALL, penalty=10), DATA)
    e = torch.randn(64)
    critic = nn.Linear(64, 1, bias=False)
    critic.weight.data.copy_(slope * e / e.norm())
    model.D.forward = lambda x, labels: critic(x.flatten(1)).squeeze(1)
    penalty = model.gradient_penalty(images(), images().flip(0))
    torch.testing.assert_close(penalty, torch.tensor(10 * (slope - 1) ** 2))
    penalty.backward()  # of d/dw 10 (|w| - 1)^2
    gradient = critic.weight.grad[0]
    torch.testing.assert_close(gradient, 20 * (slope - 1) * e / e.norm())


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_gradient_penalty_is_as_in_fp32_under_bf16_autocast(network: str):
    torch.manual_seed(0)
    config = WGANGPConfig(**SMALL | {"network": network, "d_width": 16})
    model = wgan_gp.WGANGP(config, DATA)
    gradients = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            penalty = model.gradient_penalty(images(), images().flip(0))
        parameters = tuple(model.D.features.parameters())
        grads = torch.autograd.grad(penalty, parameters, allow_unused=True)
        gradients.append(torch.cat([g.flatten().float() for g in grads if g is not None]))
    similarity = torch.cosine_similarity(*gradients, dim=0)
    assert float(similarity) > 0.99


def test_lsgan_is_content_at_its_targets():
    model = lsgan.LSGAN(LSGANConfig(**SMALL), DATA)
    critic, generator = model.updates()
    model.D.head.weight.data.zero_()
    for score, expected in ((1.0, (0.5, 0.0)), (0.0, (0.5, 0.5)), (0.5, (0.25, 0.125))):
        model.D.head.bias.data.fill_(score)
        step = Step()
        losses = (float(u.loss(Batch(images()), step).total.detach()) for u in (critic, generator))
        assert tuple(losses) == pytest.approx(expected)


def test_cgan_needs_classes():
    with pytest.raises(UsageError, match="cgan needs classes"):
        make(registry.find("cgan"), CGANConfig(), DataInfo(1, 8, 8))


@pytest.mark.parametrize("model", ["wgan", "wgan-gp", "lsgan", "cgan"])
@pytest.mark.parametrize("option", [{"hidden": 8}, {"batch_norm": True}])
def test_multilayer_networks_refuse_what_they_do_not_have(model: str, option: dict):
    spec = registry.find(model)
    if option.keys() <= {field.name for field in dataclasses.fields(spec.options())}:
        with pytest.raises(UsageError, match="convolutional"):
            make(spec, spec.options()(network="mlp", **option), DATA)
    else:
        assert (model, *option) == ("wgan-gp", "batch_norm")  # its penalty is per image


@torch.no_grad()
def test_cgan_draws_what_it_is_asked_for():
    model = cgan.CGAN(CGANConfig(**SMALL), DATA).eval()
    labels = torch.tensor([2, 0, 2, 1])
    asked = Condition(labels)
    drawn = model.sample(4, generator=ImageGenerator(0, range(4)), condition=asked)
    z = ImageGenerator(0, range(4)).normal(3)
    torch.testing.assert_close(drawn, model.G(z, labels))
    assert model.sample_latent(4, generator=ImageGenerator(0, range(4))).shape == (4, 3)
    torch.testing.assert_close(drawn, model.decode(z, asked))
    assert not drawn.equal(model.decode(z))
