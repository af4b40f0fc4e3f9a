"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028).

The critic f and the generator G of the Wasserstein GAN (arXiv:1701.07875), where the norm of f's
gradient is held to 1 on straight lines between real and made images instead of clipping weights:

    f minimises E f(G(z)) - E f(x) + lambda E (|grad f(u)| - 1)^2,    u = a x + (1 - a) G(z)

with a uniform in [0, 1] for each pair; G minimises -E f(G(z)). Departures: the networks are those
of `dcgan` or `gan`, and images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel, chosen_networks
from gencli.models.adversarial.configs import WGANGPConfig
from gencli.models.adversarial.signs import CRITIC_HAS_WON
from gencli.models.interface import Optimizer, Sign, Update


class WGANGP(AdversarialModel):
    """The Wasserstein GAN whose critic has gradients of norm 1."""

    config: WGANGPConfig

    def __init__(self, config: WGANGPConfig, data: DataInfo) -> None:
        super().__init__(config, data, chosen_networks(config, data))

    def signs(self) -> tuple[Sign, ...]:
        """That the critic has won."""
        return (CRITIC_HAS_WON,)

    def updates(self) -> tuple[Update, ...]:
        """The critic's `d_steps` updates, then the generator's."""
        return self.wasserstein_game(
            optimizer=Optimizer(betas=(0.0, 0.9)),
            penalty=self.gradient_penalty,
        )

    def gradient_penalty(self, real: Tensor, made: Tensor, labels: Tensor | None = None) -> Tensor:
        """Lambda E (|grad f(u)| - 1)^2, with u between real images and made ones (B, C, H, W)."""
        a = torch.rand(len(made), 1, 1, 1, device=made.device)
        u = torch.lerp(made, real, a).requires_grad_()
        (gradient,) = torch.autograd.grad(self.D(u, labels).sum(), u, create_graph=True)
        norm: Tensor = gradient.flatten(1).norm(dim=1)
        return self.config.penalty * (norm - 1).square().mean()
