r"""Variational autoencoder (Kingma and Welling 2013, arXiv:1312.6114).

An encoder q(z|x) = N(mu(x), diag sigma^2(x)) and a decoder p(x|z) are trained together on the
evidence lower bound, with beta = 1 unless asked otherwise (beta-VAE, Higgins et al. 2017):

    log p(x) >= E_q[log p(x|z)] - beta KL(q(z|x) || N(0, I))

The weight of the KL term can rise from 0 in the first steps, so that fewer latents are given up
before they are of use (Sonderby et al. 2016, arXiv:1602.02282), and hidden units can be gated
(Dauphin et al. 2016, arXiv:1612.08083), both as in Tomczak and Welling 2017 (arXiv:1705.07120).

The likelihood p(x|z) follows the data: Bernoulli for grey and binary images (a grey level is taken
as the probability of ink, so on grey data the bound is a cross-entropy), a discretised logistic
with one learnt scale per channel for colour (Kingma et al. 2016, arXiv:1606.04934);
a discretised Gaussian on request.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Step
from gencli.models.latent.base import LatentModel
from gencli.models.latent.configs import VAEConfig
from gencli.models.likelihoods import discretized_logistic_log_prob, discretized_normal_log_prob
from gencli.models.softplus import bernoulli_log_prob

_DISCRETISED = {
    "logistic": discretized_logistic_log_prob,
    "gaussian": discretized_normal_log_prob,
}


def _mlp(widths: tuple[int, ...], config: VAEConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        if config.activation == "gated":
            layers += [nn.Linear(n_in, 2 * n_out), nn.GLU()]
        else:
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        if config.dropout:
            layers.append(nn.Dropout(config.dropout))
    return nn.Sequential(*layers)


class VAE(LatentModel):
    """Multilayer-perceptron VAE with one stochastic layer."""

    config: VAEConfig

    def __init__(self, config: VAEConfig, data: DataInfo) -> None:
        super().__init__(config, data, config.latent_dim)
        self.likelihood = config.likelihood
        if config.likelihood == "auto":
            self.likelihood = "bernoulli" if data.binary or data.channels == 1 else "logistic"
        self.discrete_levels = 2 if self.likelihood == "bernoulli" else 256
        d, z = data.n_pixels, config.latent_dim
        self.encoder = _mlp((d, *config.hidden), config)
        self.to_posterior = nn.Linear(config.hidden[-1], 2 * z)
        self.decoder = _mlp((z, *reversed(config.hidden)), config)
        self.to_pixels = nn.Linear(config.hidden[0], d)
        if self.likelihood != "bernoulli":
            self.log_scale = nn.Parameter(torch.full((data.channels, 1, 1), math.log(0.1)))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (B, latent_dim)."""
        mu, log_var = self.to_posterior(self.encoder(x.flatten(1))).float().chunk(2, dim=1)
        return mu, log_var

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Log p(x|z) in nats; z is (..., latent_dim), x broadcasts as (..., C, H, W)."""
        out = self.to_pixels(self.decoder(z))
        if self.likelihood == "bernoulli":
            return bernoulli_log_prob(x.flatten(-3), out)
        mean = out.float().sigmoid().unflatten(-1, self.data.shape)
        return _DISCRETISED[self.likelihood](x, mean, self.log_scale).sum((-3, -2, -1))

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The negative ELBO, in nats per image, its KL term weighted by `beta` after warm-up."""
        mu, log_var = self.posterior(batch.images)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        kl = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1).mean()
        distortion = -self.log_likelihood(batch.images, z).mean()
        rate = self.config.beta * kl
        if self.config.kl_warmup:
            rate = rate * min(step.number / self.config.kl_warmup, 1.0)
        return Loss(distortion + rate, distortion=distortion, kl=kl)

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """A draw of the ELBO, its KL term in closed form, (B,) nats."""
        mu, log_var = self.posterior(x)
        kl = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return self.log_likelihood(x, z) - kl

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        """Importance weights log p(x|z) p(z) / q(z|x) of k draws from q, (k, B) nats.

        The mean weight's logarithm tends to log p(x) (Burda et al. 2015, arXiv:1509.00519).
        """
        mu, log_var = self.posterior(x)
        eps = torch.randn(k, *mu.shape, device=mu.device)
        z = mu + torch.exp(0.5 * log_var) * eps
        prior_over_posterior = 0.5 * (eps.square() - z.square() + log_var).sum(-1)
        return self.log_likelihood(x, z) + prior_over_posterior

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B, C, H, W) -> posterior means (B, latent_dim)."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, latent_dim) -> mean images (n, C, H, W)."""
        out: Tensor = self.to_pixels(self.decoder(z))
        return out.float().sigmoid().view(-1, *self.data.shape)
