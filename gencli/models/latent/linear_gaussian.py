r"""Linear models with Gaussian latents and pixels: what `ppca` and `factor-analysis` share.

    p(z) = N(0, I),  p(x|z) = N(W z + mu, Psi),  p(x) = N(mu, W W^T + Psi),  Psi diagonal

Everything about them is in closed form. With M = I + W^T Psi^-1 W (Rubin and Thayer 1982):

    p(z|x) = N(m, M^-1),  m = M^-1 W^T Psi^-1 (x - mu)
    log p(x) = -1/2 (D log 2 pi + log|Psi| + log|M| + |x - mu - W m|^2_{Psi^-1} + |m|^2)

The data come in only by their mean and second moments, which a pass over the images gathers in
buffers; the fit is then a function of these alone. Sums go on from epoch to epoch, so that with
dynamic binarisation the moments are those of all draws.

A density of pixels that have levels says little, and on pixels that never change it is unbounded.
So the fit is to y = x + u, with u a noise within the values that round to x: its variance is added
to that of every pixel. That is exact, for nothing is drawn, and it gives a bound in closed form on
the probability P(x) that y, rounded to the nearest level, is x (`gencli.models.latent.spread`):

    log P(x) >= E_u log p(x + u) + D H(u) = log p(x) - Var(u)/2 tr (W W^T + Psi)^-1 + D H(u)

This one can be compared with the likelihoods of other models. Images are the means of p(x|z),
clamped to [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Stage, Step, Update
from gencli.models.latent.base import LatentModel
from gencli.models.latent.configs import LatentSampling, LinearConfig
from gencli.models.latent.spread import spread
from gencli.random import ImageGenerator

_MOST_PIXELS = 4096


class LinearGaussian(LatentModel):
    """W, mu and Psi; a model of this kind says by `fit` how they follow from a covariance.

    Args:
        config: The model's options.
        data: What the images are.
        n_noise: Different entries of Psi: 1, or one for each pixel value.

    Raises:
        UsageError: If there are as many latents as pixel values, or very many of these.
    """

    bf16: ClassVar[bool] = False
    log_prob_is_density: ClassVar[bool] = True

    summed: ClassVar[tuple[str, ...]] = ("count", "total", "moment")

    config: LinearConfig
    count: Tensor
    fitted: Tensor
    centre: Tensor
    total: Tensor
    moment: Tensor

    def __init__(self, config: LinearConfig, data: DataInfo, n_noise: int) -> None:
        super().__init__(config, data, config.latent_dim)
        d = data.n_pixels
        if d > _MOST_PIXELS:
            raise UsageError(
                f"Images of {d} pixel values are too large: their covariance has {d}x{d} numbers.",
                f"It takes at most {_MOST_PIXELS} of them; see --image-size.",
            )
        if self.latent_dim >= d:
            raise UsageError(
                f"--latent-dim {self.latent_dim} leaves nothing of {d} pixel values to the noise.",
                f"It takes less than {d}.",
            )
        self.discrete_levels = 2 if data.binary else 256
        self.spread = spread(self.discrete_levels)
        self.weight = nn.Parameter(0.1 * torch.randn(d, self.latent_dim))
        self.mean = nn.Parameter(torch.full((d,), 0.5))
        self.noise = nn.Parameter(torch.full((n_noise,), 0.1))  # Psi
        # Sums over the images so far, about a point near their mean, where little cancels.
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("fitted", torch.zeros(()))  # images of the last fit
        self.register_buffer("centre", torch.full((d,), 0.5))
        self.register_buffer("total", torch.zeros(d))
        self.register_buffer("moment", torch.zeros(d, d))

    def fit(self, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """W (D, latent_dim) and Psi (n_noise,) of a covariance (D, D), float64 on the CPU."""
        raise TypeError(f"{type(self).__name__} does not define fit()")

    def loss(self, batch: Batch, step: Step) -> Loss:
        """Gathers moments; the loss is the bound on -log P(x) before the next fit, in nats."""
        x = batch.images.flatten(1) - self.centre
        self.count += len(x)
        self.total += x.sum(0)
        self.moment.addmm_(x.T, x)
        return Loss(-self.log_prob_bound(batch.images).mean())

    @torch.no_grad()
    def maximize(self) -> None:
        """Fit to the moments of all images so far, unless that was done."""
        if self.count == self.fitted:
            return
        self.fitted.copy_(self.count)
        # On the CPU, and in float64, which not every device has.
        shift, moment = ((t / self.count).cpu().double() for t in (self.total, self.moment))
        covariance = moment - torch.outer(shift, shift)
        covariance.diagonal().clamp_(min=0).add_(self.spread.variance)
        weight, noise = self.fit(covariance)
        self.mean.copy_(self.centre.cpu() + shift)
        self.weight.copy_(ordered(weight, noise))
        self.noise.copy_(noise)

    @torch.no_grad()
    def start(self, data: Iterable[Batch]) -> None:
        """Sums are taken about the mean of the first images."""
        self.centre.copy_(next(iter(data)).images.flatten(1).mean(0))

    def stages(self) -> tuple[Stage, ...]:
        """One stage without an optimizer; it fits when the images were seen, or at its end."""
        fit = Update("fit", self.loss, tuple(self.parameters()), None, epoch_end=self.maximize)
        return (
            Stage(
                "train",
                (fit,),
                start=self.start,
                finish=self.maximize,
                validate=lambda batch: -self.log_prob_bound(batch.images),
            ),
        )

    def posterior(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean m (B, latent_dim) of p(z|x), and M's Cholesky factor (1 or B, latent_dim squared).

        Args:
            x: Flat images (B, D).
            known: (1 or B, D), 1 where a pixel was seen, else 0; None means all.
        """
        precision = 1 / self.noise.to(x).expand(1, x.shape[1])
        if known is not None:
            precision = precision * known
        weight = self.weight.to(x)
        m_matrix = (precision.unsqueeze(1) * weight.T) @ weight
        m_matrix.diagonal(dim1=1, dim2=2).add_(1)
        factor = torch.linalg.cholesky(m_matrix)
        inverse = torch.cholesky_inverse(factor)
        right = (precision * (x - self.mean)) @ weight
        if len(inverse) == 1:
            return right @ inverse[0], factor
        return torch.einsum("bk,bkl->bl", right, inverse), factor

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Exact log p(x), (B,) nats; a density, of pixels spread within their levels' bins."""
        flat = self._precise(x)
        m, factor = self.posterior(flat)
        noise = self.noise.to(flat).expand(flat.shape[1])
        # The form without differences of large numbers: W m is the best that latents can explain.
        rest = (flat - self.mean - m @ self.weight.to(flat).T).square() / noise
        log_det = noise.log().sum() + 2 * factor.diagonal(dim1=1, dim2=2).log().sum()
        constant = len(noise) * math.log(2 * math.pi) + log_det
        return (-0.5 * (constant + rest.sum(1) + m.square().sum(1))).to(x.dtype)

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The bound on log P(x) of pixels with levels, (B,) nats; the same in every draw."""
        flat = self._precise(x)
        weight, noise = self.weight.to(flat), self.noise.to(flat).expand(flat.shape[1])
        _, factor = self.posterior(flat[:1])
        scaled = weight / noise.unsqueeze(1)
        explained = (scaled @ torch.cholesky_inverse(factor[0])).mul(scaled).sum()
        trace = (1 / noise).sum() - explained  # of the inverse covariance
        lost = 0.5 * self.spread.variance * trace - len(noise) * self.spread.entropy
        return self.log_prob(x) - lost.to(x.dtype)

    def _precise(self, x: Tensor) -> Tensor:
        """Flat images in float64, where the device has it."""
        return x.flatten(1).to(torch.float32 if x.device.type == "mps" else torch.float64)

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B, C, H, W) -> posterior means (B, latent_dim)."""
        return self.posterior(self._precise(x))[0].float()

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, latent_dim) -> the means W z + mu, clamped to [0, 1], (n, C, H, W)."""
        images: Tensor = (z @ self.weight.T + self.mean).clamp(0, 1)
        return images.view(-1, *self.data.shape)

    def complete(
        self,
        x: Tensor,
        known_mask: Tensor,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        temperature: float = LatentSampling.temperature,
    ) -> Tensor:
        """Draw z from p(z | known pixels), whatever their places, and decode it elsewhere."""
        seen = known_mask.expand(-1, self.data.channels, -1, -1) if known_mask.dim() == 4 else (
            known_mask.expand(1, *self.data.shape)
        )  # fmt: skip
        flat = self._precise(x)
        m, factor = self.posterior(flat, seen.flatten(1).to(flat))
        noise = generator.normal(self.latent_dim).to(flat).unsqueeze(2)
        drawn = torch.linalg.solve_triangular(factor.mT, noise, upper=True).squeeze(2)
        images = self.decode((m + temperature * drawn).float())
        return torch.where(seen, x, images)

    def filters(self) -> Tensor:
        """The columns of W, (latent_dim, C, H, W)."""
        return self.weight.T.reshape(-1, *self.data.shape)


def ordered(weight: Tensor, noise: Tensor) -> Tensor:
    """Turn W so that M is diagonal, the most informative latent first; p(x) stays as it is.

    The latents are then independent given x, and which of all equal solutions is taken no longer
    depends on the way to it. Each column's largest entry is made positive.
    """
    _, turn = torch.linalg.eigh((weight / noise.expand(len(weight)).unsqueeze(1)).T @ weight)
    turned = weight @ turn.flip(1)
    largest = turned.gather(0, turned.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -turned, turned)
