"""The one loop that draws: which batches and which precision it gives a model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models import drawing
from gencli.models.diffusion.configs import DDPMConfig
from gencli.models.diffusion.ddpm import DDPM
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.vae import VAE

DATA = DataInfo(1, 8, 8, ("a", "b", "c"))
STEPS = {"steps": 3}


def ddpm() -> DDPM:
    """A small model whose every weight is random: a fresh one predicts zero."""
    torch.manual_seed(0)
    model = DDPM(DDPMConfig(width=8, multipliers=(1, 2), timesteps=50), DATA)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def draw(model: DDPM | VAE, n: int, **more: object) -> Tensor:
    return torch.cat(list(drawing.draw(model, n, seed=1, **more)))  # type: ignore[arg-type]


@pytest.mark.parametrize("fast", [False, True])
def test_diffusion_is_drawn_in_bf16_where_that_is_fast(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "has_fast_bf16", lambda device: fast)
    kinds = set[torch.dtype]()
    model = ddpm()
    model.unet.register_forward_hook(lambda module, args, out: kinds.add(out.dtype))
    images = draw(model, 2, options=STEPS)
    assert images.dtype == torch.float32
    assert kinds == {torch.bfloat16 if fast else torch.float32}


def test_bf16_is_left_to_models_that_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "has_fast_bf16", lambda device: True)
    model = VAE(VAEConfig(hidden=(8,)), DATA).eval()
    kinds = set[torch.dtype]()
    model.decoder.to_map.register_forward_hook(lambda module, args, out: kinds.add(out.dtype))
    draw(model, 2)
    assert kinds == {torch.float32}


def test_batches_are_of_the_size_that_is_fastest() -> None:
    sizes = [len(batch) for batch in drawing.draw(ddpm(), 130, seed=1, options=STEPS)]
    assert sizes == [64, 64, 2]
    assert [len(b) for b in drawing.draw(ddpm(), 9, seed=1, batch_size=5, options=STEPS)] == [5, 4]


@pytest.mark.parametrize("fast", [False, True])
def test_an_image_does_not_depend_on_its_batch(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "has_fast_bf16", lambda device: fast)
    model = ddpm()
    together = draw(model, 9, options=STEPS)
    for size in (1, 4):
        apart = draw(model, 9, batch_size=size, options=STEPS)
        torch.testing.assert_close(apart, together, atol=1 / 255, rtol=0)
