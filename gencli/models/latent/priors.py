r"""Priors p(z) of the top layer of latents.

`normal` is N(0, I). `vamp` is the variational mixture of posteriors of Tomczak and Welling 2018
(arXiv:1705.07120): the encoder's own posteriors at K learnt pseudo-inputs u_k,

    p(z) = 1/K sum_k q(z | u_k),

which is what maximises the bound where the u_k are all the training images. They are projected into
[0, 1] after each step, and start as training images drawn at random. With `--conditional` each
keeps the class y_k of the image that it started as, and stands for q(z | u_k, y_k).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import Batch
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.densities import Density, EvenMixture, Gaussian, StandardNormal

PSEUDO_INPUTS = 500
"""As in the paper's experiments on MNIST."""


class Encode(Protocol):
    """q(z | x, y) of images (B, C, H, W) and classes (B, n_classes), one-hot."""

    def __call__(self, x: Tensor, y: Tensor | None) -> Gaussian:
        """A Gaussian for each image."""
        ...


class NormalPrior(nn.Module):
    """N(0, I), which has nothing to learn."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def density(self, encode: Encode) -> Density:
        """p(z)."""
        return StandardNormal(self.latent_dim)


class VampPrior(nn.Module):
    """A mixture of posteriors at pseudo-inputs.

    Args:
        n: Pseudo-inputs K.
        data: What the images are.
        n_classes: Classes that the encoder is told; 0 for none.
    """

    classes: Tensor

    def __init__(self, n: int, data: DataInfo, n_classes: int) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.rand(n, *data.shape))
        self.register_buffer("classes", torch.zeros(n, n_classes))

    def density(self, encode: Encode) -> Density:
        """p(z), by the encoder as it is now."""
        classes = self.classes if self.classes.shape[1] else None
        return EvenMixture(encode(self.pseudo_inputs, classes))

    @torch.no_grad()
    def start(self, data: Iterable[Batch]) -> None:
        """Take training images for pseudo-inputs, over and over where they are few."""
        n, n_classes = len(self.pseudo_inputs), self.classes.shape[1]
        images, classes = self.pseudo_inputs[:0], self.classes[:0]
        keys = images.new_empty(0)
        for x, condition in data:  # the images with the largest of random keys
            images, keys = torch.cat([images, x]), torch.cat([keys, torch.rand_like(x[:, 0, 0, 0])])
            if condition.labels is not None:
                classes = torch.cat([classes, one_hot(condition.labels, n_classes)])
            kept = keys.topk(min(n, len(keys))).indices
            images, keys, classes = (
                images[kept],
                keys[kept],
                classes[kept] if n_classes else classes,
            )
        rows = torch.arange(n, device=images.device) % len(images)
        self.pseudo_inputs.copy_(images[rows])
        if n_classes:
            self.classes.copy_(classes[rows])

    @torch.no_grad()
    def project(self) -> None:
        """Put the pseudo-inputs back into [0, 1]."""
        self.pseudo_inputs.clamp_(0, 1)


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """(B,) classes -> (B, n_classes), 1 at the class and else 0."""
    return (labels[:, None] == torch.arange(n_classes, device=labels.device)).float()


def make_prior(config: VAEConfig, data: DataInfo) -> NormalPrior | VampPrior:
    """The prior that the options ask for.

    Raises:
        UsageError: If pseudo-inputs are asked of a prior that has none.
    """
    if config.prior == "vamp":
        n_classes = data.n_classes if config.conditional else 0
        return VampPrior(config.pseudo_inputs or PSEUDO_INPUTS, data, n_classes)
    if config.pseudo_inputs is not None:
        raise UsageError(
            "--pseudo-inputs is for a prior that has some.",
            "Add --prior vamp, or leave --pseudo-inputs out.",
        )
    return NormalPrior(config.latent_dim)
