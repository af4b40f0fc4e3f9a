"""pix2pix: its networks at every size, its two losses, its noise, and that it learns a mapping."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gencli import registry
from gencli.data.conditions import Batch, Condition
from gencli.data.source_images import as_image, derive
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.export.onnx import export_onnx
from gencli.export.pt2 import export_pt2
from gencli.models.adversarial.configs import Pix2PixConfig
from gencli.models.adversarial.pix2pix import Pix2Pix
from gencli.models.adversarial.pix2pix_networks import PatchDiscriminator, UNet
from gencli.models.build import make
from gencli.models.interface import Step
from gencli.random import ImageGenerator

INFO = DataInfo(3, 16, 16, source="grey")


def small(**options: float) -> Pix2Pix:
    torch.manual_seed(0)
    model = Pix2Pix(Pix2PixConfig(width=8, d_width=4, **options), INFO).eval()
    nn.init.normal_(model.G.last[1].weight, std=0.1)  # which begins with adding nothing
    return model


def sources(n: int, seed: int = 0) -> Condition:
    return Condition(source=torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (64, 64), (128, 128), (6, 6), (13, 22)])
@pytest.mark.parametrize(("channels", "source"), [(1, "edges"), (3, "grey"), (3, "small")])
@torch.no_grad()
def test_networks_fit_images_of_any_size(size: tuple[int, int], channels: int, source) -> None:
    data = DataInfo(channels, *size, source=source)
    network = UNet(4, 0.5, data).eval()
    x, z = torch.rand(2, *data.source_shape), torch.randn(2, network.latent_dim)
    images = network(x, z)
    assert images.shape == (2, *data.shape)
    assert 0 < float(images.min()) < float(images.max()) < 1
    assert PatchDiscriminator(4, 1, data)(x, images).shape[:2] == (2, 1)


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_judges_a_patch_of_the_stated_size(layers: int, side: int) -> None:
    data = DataInfo(1, 128, 128, source="edges")
    network = PatchDiscriminator(4, layers, data).eval()
    images = torch.rand(1, 1, 128, 128, requires_grad=True)
    logits = network(torch.rand(1, 1, 128, 128), images)
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    assert images.grad is not None
    rows, columns = (images.grad[0, 0].abs().sum(d).nonzero() for d in (1, 0))
    assert len(rows) == len(columns) == side


def test_images_too_small_for_the_discriminator_are_refused() -> None:
    with pytest.raises(UsageError, match="8x8 pixels are too small for 2 layers"):
        PatchDiscriminator(4, 2, DataInfo(1, 8, 8, source="edges"))


def test_it_needs_sources() -> None:
    with pytest.raises(UsageError, match="pix2pix needs source images"):
        make(registry.find("pix2pix"), Pix2PixConfig(), DataInfo(1, 28, 28))


@pytest.mark.parametrize("kind", ["grey", "half", "small", "mask"])
@torch.no_grad()
def test_it_begins_with_the_source_where_that_is_the_image_without_something(kind) -> None:
    data = DataInfo(3, 16, 16, source=kind)
    images = 0.1 + 0.8 * torch.rand(2, 3, 16, 16)
    source = derive(images, kind)
    assert source is not None
    made = UNet(4, 0.5, data).eval()(source)
    torch.testing.assert_close(made, as_image(source, kind).expand_as(made), atol=1e-5, rtol=0)


class _Constant(nn.Module):
    """A discriminator that gives true images (all ones) and others a logit each."""

    def __init__(self, real: float, fake: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([fake, real]))

    def forward(self, source: Tensor, images: Tensor) -> Tensor:
        true = images.flatten(1).min(1).values == 1
        return self.logits[true.long()].view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def test_losses_are_those_of_the_paper() -> None:
    model = small(l1_weight=10.0).train()
    model.D = _Constant(2.0, -1.0)  # type: ignore[assignment]
    discriminator, generator = model.updates()
    batch, step = Batch(torch.ones(4, 3, 16, 16), sources(4)), Step()
    d_real, d_fake = (1 / (1 + math.exp(-logit)) for logit in (2.0, -1.0))
    loss = discriminator.loss(batch, step).total.item()
    assert loss == pytest.approx(-0.5 * math.log(d_real) - 0.5 * math.log(1 - d_fake))
    made = step.shared["made"].detach()
    distance = float(((2 * made - 1) - 1).abs().mean())
    total = generator.loss(batch, step).total.item()
    assert total == pytest.approx(-math.log(d_fake) + 10 * distance, rel=1e-5)


@torch.no_grad()
def test_noise_is_dropout_of_the_channels_that_z_says() -> None:
    model = small(dropout=0.3)
    seen: list[Tensor] = []
    model.G.up[1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    z = torch.randn(500, model.G.latent_dim, generator=torch.Generator().manual_seed(1))
    source = sources(1).rows(torch.zeros(500, dtype=torch.int64))
    model.decode(z, source)
    model.sample(1, generator=ImageGenerator(0, range(1)), condition=sources(1), noise=False)
    noisy, plain = seen
    n = model.G._dropped[0]
    ratio = (noisy[:, :n] / plain[:, :n]).mean((2, 3))
    kept = ratio > 0.5
    assert torch.allclose(ratio[kept], torch.tensor(1 / 0.7), rtol=1e-3)
    assert (ratio[~kept].abs() < 1e-6).all()
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=0.02)
    assert torch.equal(noisy[:, n:], plain[:, n:].expand(500, -1, -1, -1))  # what skips it


@torch.no_grad()
def test_seeds_give_other_images_of_a_source_but_without_noise() -> None:
    model = small()
    source = sources(1).rows(torch.zeros(3, dtype=torch.int64))
    draws = [
        model.sample(3, generator=ImageGenerator(s, range(3)), condition=source) for s in (0, 1)
    ]
    assert not draws[0].equal(draws[1])
    assert not torch.allclose(draws[0][0], draws[0][1])
    z = model.sample_latent(3, generator=ImageGenerator(0, range(3)))
    torch.testing.assert_close(model.decode(z, source), draws[0])
    still = [
        model.sample(3, generator=ImageGenerator(s, range(3)), condition=source, noise=False)
        for s in (0, 1)
    ]
    assert still[0].equal(still[1])


def test_it_learns_to_colour() -> None:
    """Bright sources are red, dark ones blue: after a few steps much nearer than grey is."""
    model = small().train()
    updates = model.updates()
    optimizers = [torch.optim.Adam(u.parameters, 2e-3, betas=(0.5, 0.999)) for u in updates]

    def batch(n: int) -> Batch:
        grey = torch.rand(n, 1, 1, 1).expand(-1, 1, 16, 16) * 0.9 + 0.05
        images = torch.cat([grey, torch.zeros_like(grey), 1 - grey], 1)
        return Batch(images, Condition(source=grey))

    for _ in range(60):
        seen, step = batch(16), Step()
        for update, optimizer in zip(updates, optimizers, strict=True):
            optimizer.zero_grad()
            update.loss(seen, step).total.backward(inputs=update.parameters)
            optimizer.step()
    model.eval()
    with torch.no_grad():
        fresh = batch(50)
        assert fresh.condition.source is not None
        error = model.validation_loss(fresh.images, fresh.condition).mean()
        untrained = (fresh.condition.source - fresh.images).abs().mean()
    assert float(error) < 0.3 * float(untrained)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_exports_take_the_source(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small()
    for export, name in ((export_onnx, "x.onnx"), (export_pt2, "x.pt2")):
        assert export(model, tmp_path / name).max_abs_difference <= 1e-4
    z, source = torch.randn(5, model.G.latent_dim), torch.rand(5, 1, 16, 16)
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"))
    assert [i.name for i in session.get_inputs()] == ["latents", "source"]
    (ours,) = session.run(None, {"latents": z.numpy(), "source": source.numpy()})
    theirs = torch.export.load(tmp_path / "x.pt2").module()(z, source).detach().numpy()
    with torch.no_grad():
        expected = model.decode(z, Condition(source=source)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    np.testing.assert_allclose(theirs, expected, atol=1e-4)
