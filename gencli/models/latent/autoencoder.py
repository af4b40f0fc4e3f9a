r"""Autoencoder: plain, denoising, contractive or sparse, with a prior of codes fitted afterwards.

An encoder z = f(x) and a decoder g(z) are trained to give the image back, each pixel's grey level
taken as a probability. What keeps the code from being a mere copy is, with `--penalty`:

    none          L(x, g(f(x))), with fewer latents than pixels
    denoising     L(x, g(f(x'))), x' with a share of its pixels set to 0
                  (Vincent et al. 2008, "Extracting and composing robust features")
    contractive   L(x, g(f(x))) + lambda |df/dx|^2, the Frobenius norm of the Jacobian
                  (Rifai et al. 2011, "Contractive auto-encoders")
    sparse        L(x, g(top_k f(x))), all latents but the k largest set to 0
                  (Makhzani and Frey 2013, arXiv:1312.5663)

The papers' networks have one hidden layer: `--hidden ""`, with the code as that layer. Their
encoder and decoder share weights; here they do not. The Jacobian's norm is estimated by one random
direction v of code space in each image, E_v |d(v . f)/dx|^2, which any depth allows.

There is no prior and no likelihood. So that images can be drawn, a second stage fits a mixture of
Gaussians to the codes by EM, as Ghosh et al. 2019 (arXiv:1903.12436) do.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    Loss,
    Stage,
    StageSettings,
    Step,
    Update,
)
from gencli.models.latent.base import LatentModel
from gencli.models.latent.configs import AutoencoderConfig
from gencli.models.latent.gaussian_mixture import GaussianMixture
from gencli.models.softplus import bernoulli_log_prob
from gencli.random import ImageGenerator

_CODES: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
}


def _mlp(widths: tuple[int, ...], last: nn.Module) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1], last)


class Autoencoder(LatentModel):
    """Multilayer perceptrons there and back, and a mixture of Gaussians for the codes."""

    config: AutoencoderConfig

    def __init__(self, config: AutoencoderConfig, data: DataInfo) -> None:
        super().__init__(config, data, config.latent_dim)
        if config.penalty == "sparse" and config.active > config.latent_dim:
            raise UsageError(
                f"--active {config.active} is more than there are latents.",
                f"It takes at most --latent-dim, {config.latent_dim}.",
            )
        widths = (data.n_pixels, *config.hidden, config.latent_dim)
        self.encoder = _mlp(widths, _CODES[config.code]())
        self.decoder = _mlp(widths[::-1], nn.Identity())
        self.prior = GaussianMixture(config.components, config.latent_dim)

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B, C, H, W) -> codes (B, latent_dim)."""
        z: Tensor = self.encoder(x.flatten(1)).float()
        if self.config.penalty == "sparse":
            kept = z.topk(self.config.active, dim=1)
            z = torch.zeros_like(z).scatter(1, kept.indices, kept.values)
        return z

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, latent_dim) -> images (n, C, H, W)."""
        out: Tensor = self.decoder(z)
        return out.float().sigmoid().view(-1, *self.data.shape)

    def distortion(self, x: Tensor, z: Tensor) -> Tensor:
        """L(x, g(z)): the cross-entropy of x (B, C, H, W) under what codes give, (B,) nats."""
        return -bernoulli_log_prob(x.flatten(1), self.decoder(z))

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The mean of L, and of the contractive penalty, in nats per image."""
        x, config = batch.images, self.config
        if config.penalty == "denoising":
            kept = torch.rand_like(x) >= config.corruption
            return Loss(self.distortion(x, self.encode(x * kept)).mean())
        if config.penalty != "contractive":
            return Loss(self.distortion(x, self.encode(x)).mean())
        seen = x.detach().requires_grad_()
        z = self.encode(seen)
        distortion = self.distortion(x, z).mean()
        (slope,) = torch.autograd.grad((z * torch.randn_like(z)).sum(), seen, create_graph=True)
        norm = slope.square().flatten(1).sum(1).mean()
        return Loss(distortion + config.contraction * norm, distortion=distortion, jacobian=norm)

    def stages(self) -> tuple[Stage, ...]:
        """The networks, then the mixture of Gaussians on the codes that they give."""
        networks = (self.encoder, self.decoder)
        trained = tuple(p for network in networks for p in network.parameters())
        fitted = tuple(self.prior.parameters())
        return (
            Stage(
                "networks",
                (Update("model", self.loss, trained, ema=True),),
                settings=StageSettings(share=1 - self.config.prior_share),
                validate=lambda batch: self.distortion(batch.images, self.encode(batch.images)),
            ),
            Stage(
                "prior",
                (Update("em", self._gather, fitted, None, epoch_end=self.prior.maximize),),
                prepare=lambda batch: batch._replace(images=self.encode(batch.images)),
                start=self._start,
                frozen=networks,
                settings=StageSettings(share=self.config.prior_share),
                validate=lambda batch: -self.prior.log_prob(self.encode(batch.images)),
            ),
        )

    def _gather(self, codes: Batch, step: Step) -> Loss:
        return Loss(-self.prior.gather(codes.images).mean())

    def _start(self, data: Iterable[Batch]) -> None:
        with torch.no_grad():
            self.prior.start(torch.cat([self.encode(batch.images) for batch in data]))

    def filters(self) -> Tensor:
        """Weights of the encoder's first layer, (n_hidden, C, H, W)."""
        weight: Tensor = next(self.encoder.parameters())
        return weight.view(-1, *self.data.shape)

    def sample_latent(
        self, n: int, *, generator: ImageGenerator, temperature: float = 1.0
    ) -> Tensor:
        """Codes (n, latent_dim) of the mixture; `temperature` scales deviations from the means."""
        return self.prior.draw(generator, temperature)
