r"""Variational autoencoder (Kingma and Welling 2013, arXiv:1312.6114), and what it grew into.

An encoder q(z|x) and a decoder p(x|z) are trained together on the evidence lower bound, with
beta = 1 unless asked otherwise (beta-VAE, Higgins et al. 2017):

    log p(x) >= E_q[log p(x|z)] - beta KL(q(z|x) || p(z))

With K > 1 `--importance-samples` it is the tighter bound of Burda et al. 2015 (arXiv:1509.00519),

    log p(x) >= E log 1/K sum_i w_i,    w_i = p(x|z_i) (p(z_i) / q(z_i|x))^beta,    z_i ~ q(z|x),

whose gradient to the encoder is doubly reparameterised (Tucker et al. 2018, arXiv:1810.04152).

Latents may lie in `--layers`, for two of them p(x|z1,z2) p(z1|z2) p(z2) and q(z1|x,z2) q(z2|x), and
the top one may have a VampPrior (both Tomczak and Welling 2018, arXiv:1705.07120). With
`--conditional`, encoder and decoder are told the class, of which p(z) knows nothing (Sohn et al.
2015, CVAE). The weight of the KL term can rise from 0 in the first steps, so that fewer latents are
given up before they are of use (Sonderby et al. 2016, arXiv:1602.02282).

Departures: layers of latents enter a network side by side, not through dense layers of their own.

The parts lie beside: `networks.py`, `densities.py`, `priors.py`, and `pixels.py` for p(x|z); the
kind that is trained most, all dense, has its bound and gradient written out in `dense_elbo.py`.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Stage, Step, Update
from gencli.models.latent.base import LatentModel
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.dense_elbo import dense_elbo
from gencli.models.latent.densities import Density, Gaussian
from gencli.models.latent.networks import Decoder, Layer, Posterior
from gencli.models.latent.pixels import BernoulliPixels, pixels_of
from gencli.models.latent.priors import VampPrior, make_prior, one_hot
from gencli.random import ImageGenerator


class Draw(NamedTuple):
    """The posterior of a layer, given a draw of those above, and a draw of it (..., latent_dim)."""

    q: Gaussian
    z: Tensor


class VAE(LatentModel):
    """Layers of latents, the top one first, and images given all of them side by side."""

    channels_last: ClassVar[bool] = True

    config: VAEConfig

    def __init__(self, config: VAEConfig, data: DataInfo) -> None:
        super().__init__(config, data, config.layers * config.latent_dim)
        if config.importance_samples > 1 and config.dropout:
            raise UsageError(
                "--dropout makes another model for each of the --importance-samples.",
                "Leave one of the two out.",
            )
        self.pixels = pixels_of(config.likelihood, data)
        self.discrete_levels = self.pixels.levels
        above = range(0, self.latent_dim, config.latent_dim)
        self.posteriors = nn.ModuleList(Posterior(config, data, n) for n in above)
        self.prior = make_prior(config, data)
        self.lower = nn.ModuleList(Layer(config, n) for n in above[1:])
        self.decoder = Decoder(config, data, self.latent_dim, self.pixels.n_outputs)

    def infer(self, x: Tensor, y: Tensor | None, *k: int) -> list[Draw]:
        """A draw of each layer from q, the top one first, or `k` draws (k, B, latent_dim)."""
        draws: list[Draw] = []
        for posterior in self.posteriors:
            q = posterior(x, y, _join([z for _, z in draws]) if draws else None)
            draws.append(Draw(q, q.rsample() if draws else q.rsample(*k)))
        return draws

    def priors(self, zs: list[Tensor]) -> list[Density]:
        """The prior of each layer, given those above it."""
        top = self.prior.density(self.posteriors[0])
        return [top, *(p(_join(zs[:i])) for i, p in enumerate(self.lower, start=1))]

    def log_likelihood(self, x: Tensor, y: Tensor | None, zs: list[Tensor]) -> Tensor:
        """Log p(x|z), (...) nats."""
        return self.pixels.log_prob(self.decoder(_join(zs), y), x)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The negative bound, in nats per image, its KL term weighted by `beta` after warm-up."""
        x, y, beta = batch.images, self._told(batch.condition), self.config.beta
        if self.config.kl_warmup:
            beta *= min(step.number / self.config.kl_warmup, 1.0)
        if self.config.importance_samples > 1:
            return self._importance_weighted(x, y, beta)
        log_likelihood, kl = self._dense_elbo(x) if self._is_dense() else self._elbo(x, y)
        distortion, kl = -log_likelihood.mean(), kl.mean()
        return Loss(distortion + beta * kl, distortion=distortion, kl=kl)

    def _elbo(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The ELBO's two terms, each (B,); of the KL term what has a closed form is in it."""
        draws = self.infer(x, y)
        zs = [z for _, z in draws]
        kl = [p.divergence(*draw) for p, draw in zip(self.priors(zs), draws, strict=True)]
        return self.log_likelihood(x, y, zs), reduce(torch.add, kl)

    def _is_dense(self) -> bool:
        """Whether `dense_elbo` is this model's bound, and nobody asked for it to be computed else.

        So it is where autocast chooses another precision, and where the networks are compiled.
        """
        c, device = self.config, self.device.type
        return (
            (c.network, c.activation, c.prior) == ("mlp", "relu", "normal")
            and (c.layers, c.importance_samples, c.dropout, c.conditional) == (1, 1, 0, False)
            and isinstance(self.pixels, BernoulliPixels)
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled(device)
            and not self.compiled
        )

    def _dense_elbo(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What `_elbo` gives, with the same random numbers."""
        posterior, decoder = cast(Posterior, self.posteriors[0]), self.decoder
        eps = torch.randn(len(x), self.latent_dim, device=x.device)
        encoding = [*_linear_layers(posterior.encoder.dense), posterior.head]
        decoding = [*_linear_layers(decoder.dense), decoder.to_map]
        return dense_elbo(x.flatten(1), eps, encoding, decoding)

    def _importance_weighted(self, x: Tensor, y: Tensor | None, beta: float) -> Loss:
        """The bound of K draws, with gradients as Tucker et al. 2018 have them.

        Where the log-weights depend on the encoder's parameters through the draws, their gradient
        has the squared shares of the weights, and none flows where log q depends on them directly.
        A KL term of weight beta turns one factor v into 1 - beta + beta v, by the same derivation.
        """
        k = self.config.importance_samples
        draws = self.infer(x, y, k)
        zs = [z.view_as(z) for _, z in draws]  # of these are the weights, those drew one another
        qs = [draws[0].q.detach()]
        for i, posterior in enumerate(self.posteriors[1:], start=1):
            frozen = {name: p.detach() for name, p in posterior.named_parameters()}
            qs.append(functional_call(posterior, frozen, (x, y, _join(zs[:i]))))
        log_likelihood, log_ratio = self.log_likelihood(x, y, zs), self._log_ratio(qs, zs)
        log_w = log_likelihood + beta * log_ratio
        factor = (1 - beta + beta * log_w.detach().softmax(0)).unsqueeze(-1)
        for z in zs:
            z.register_hook(lambda gradient: factor * gradient)  # type: ignore[no-untyped-call]
        bound = log_w.logsumexp(0) - math.log(k)
        return Loss(-bound.mean(), distortion=-log_likelihood.mean(), kl=-log_ratio.mean())

    def _log_ratio(self, qs: list[Gaussian], zs: list[Tensor]) -> Tensor:
        """Log p(z) / q(z|x), of all layers."""
        layers = zip(self.priors(zs), qs, zs, strict=True)
        return reduce(torch.add, [p.log_prob(z) - q.log_prob(z) for p, q, z in layers])

    def updates(self) -> tuple[Update, ...]:
        """One update, after which pseudo-inputs are put back where images are."""
        after = self.prior.project if isinstance(self.prior, VampPrior) else None
        return (Update("model", self.loss, tuple(self.parameters()), after=after, ema=True),)

    def stages(self) -> tuple[Stage, ...]:
        """One stage; pseudo-inputs begin as training images."""
        start = self.prior.start if isinstance(self.prior, VampPrior) else None
        return (Stage("train", self.updates(), start=start),)

    def compilable(self) -> tuple[nn.Module, ...]:
        """The networks of every layer, and the decoder."""
        return (*self.posteriors, *self.lower, self.decoder)

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """A draw of the bound that is trained on, with beta = 1, (B,) nats."""
        k = self.config.importance_samples
        if k > 1:
            return self.log_weights(x, k, condition).logsumexp(0) - math.log(k)
        log_likelihood, kl = self._elbo(x, self._told(condition))
        return log_likelihood - kl

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        """Importance weights log p(x|z) p(z) / q(z|x) of k draws from q, (k, B) nats.

        The mean weight's logarithm tends to log p(x) (Burda et al. 2015, arXiv:1509.00519).
        """
        y = self._told(condition)
        draws = self.infer(x, y, k)
        qs, zs = [q for q, _ in draws], [z for _, z in draws]
        return self.log_likelihood(x, y, zs) + self._log_ratio(qs, zs)

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B, C, H, W) -> posterior means (B, layers * latent_dim), each given those above."""
        y, means = self._told(condition), list[Tensor]()
        for posterior in self.posteriors:
            means.append(posterior(x, y, _join(means) if means else None).mean)
        return _join(means)

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, layers * latent_dim) -> mean images (n, C, H, W)."""
        return self.pixels.mean(self.decoder(z, self._told(condition)))

    def sample_latent(
        self, n: int, *, generator: ImageGenerator, temperature: float = 1.0
    ) -> Tensor:
        """(n, layers * latent_dim), the top layer first; `temperature` scales each's deviations."""
        zs = [self.prior.density(self.posteriors[0]).draw(generator, temperature)]
        for p in self.lower:
            zs.append(p(_join(zs)).draw(generator, temperature))
        return _join(zs)

    def _told(self, condition: Condition) -> Tensor | None:
        labels = condition.labels if self.config.conditional else None
        return None if labels is None else one_hot(labels, self.data.n_classes)


def _join(zs: list[Tensor]) -> Tensor:
    return zs[0] if len(zs) == 1 else torch.cat(zs, -1)


def _linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]
