"""The game of a generator and a discriminator, as two updates of one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.models.interface import Batch, Loss, Optimizer, Step, Update

Penalty = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(real images, made ones, both (B, C, H, W) as the discriminator sees them; what it is told of
them, if anything) -> a scalar to add to its loss."""


def two_players(
    G: nn.Module,
    D: nn.Module,
    latent_dim: int,
    *,
    discriminator_loss: Callable[[Tensor, Tensor], Tensor],
    generator_loss: Callable[[Tensor], Tensor],
    d_steps: int = 1,
    optimizer: Optimizer | None = None,
    d_lr_scale: float = 1.0,
    apart: bool = False,
    penalty: Penalty | None = None,
    after: Callable[[], None] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    output: Callable[[Tensor], Tensor] | None = None,
    relative: bool = False,
) -> tuple[Update, Update]:
    """`d_steps` updates of the discriminator, each on fresh images, and one of the generator.

    Both networks take labels beside their input; they are the real images' own, and None for an
    unconditional model. The generator is averaged (`ema`), the discriminator is not.

    The discriminator's last images of a step, with their graph, are the step's `shared["fake"]`:
    the generator has not changed since, so its own update takes these and makes no others. They
    were made for the classes of the step's last batch, which is the generator's.

    Args:
        G: (z, labels) -> images.
        D: (images, labels) -> logits (B,).
        latent_dim: Of z, standard normal.
        discriminator_loss: (logits of real images, logits of made ones), each (B,), -> scalar.
        generator_loss: Logits of made images (B,) -> scalar.
        d_steps: Updates of the discriminator per update of the generator.
        optimizer: Of both; Adam with the usual betas of GANs, (0.5, 0.999), unless given.
        d_lr_scale: The discriminator's learning rate relative to the generator's.
        apart: Whether the discriminator sees real and made images in batches of their own, which
            its batch normalisation, if any, asks for; otherwise one pass is faster.
        penalty: Added to the discriminator's loss.
        after: Called after each update of the discriminator (weight clipping).
        augment: What happens to all images (B, C, H, W) before the discriminator sees them.
        output: Logits -> D(x) for the logged means of D over real and made images; None logs the
            logits themselves.
        relative: Whether the generator's loss takes D(G(z)) - D(x) in place of D(G(z)). D(x) is
            that of the discriminator's own last update, so it costs nothing.
    """
    optimizer = optimizer or Optimizer(betas=(0.5, 0.999))

    def discriminate(batch: Batch, step: Step) -> Loss:
        labels = batch.condition.labels
        z = torch.randn(len(batch.images), latent_dim, device=batch.images.device)
        fake: Tensor = G(z, labels)
        step.shared["fake"] = fake
        seen = torch.cat([batch.images, fake.detach()])
        if augment is not None:
            seen = augment(seen)
        real, made = seen.chunk(2)
        if apart:
            d_real, d_fake = D(real, labels), D(made, labels)
        else:
            d_real, d_fake = D(seen, None if labels is None else labels.repeat(2)).chunk(2)
        loss = discriminator_loss(d_real, d_fake)
        d_x, d_gz = d_real.detach(), d_fake.detach()
        step.shared["d_real"] = d_x
        if output is not None:
            d_x, d_gz = output(d_x), output(d_gz)
        metrics = {"d_real": d_x.mean(), "d_fake": d_gz.mean()}
        if penalty is not None:
            extra = penalty(real, made, labels)
            loss, metrics["penalty"] = loss + extra, extra.detach()
        return Loss(loss, **metrics)

    def generate(batch: Batch, step: Step) -> Loss:
        fake = step.shared["fake"]
        if augment is not None:
            fake = augment(fake)
        d_fake = D(fake, batch.condition.labels)
        return Loss(generator_loss(d_fake - step.shared["d_real"] if relative else d_fake))

    return (
        Update(
            "discriminator",
            discriminate,
            tuple(D.parameters()),
            replace(optimizer, lr_scale=d_lr_scale),
            repeat=d_steps,
            after=after,
        ),
        Update("generator", generate, tuple(G.parameters()), optimizer, ema=True),
    )


def cross_entropy(d_real: Tensor, d_fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """The discriminator's -E log D(x) - E log(1 - D(G(z))), of logits.

    `smoothing` takes that much off the target of real images alone (Salimans et al. 2016,
    arXiv:1606.03498): for a target t, the cross-entropy of the logit l is softplus(-l) + (1 - t) l.
    """
    real = F.softplus(-d_real) + smoothing * d_real
    return real.mean() + F.softplus(d_fake).mean()


def zero_centred_penalty(
    D: nn.Module, r1: float, r2: float, real: Tensor, made: Tensor, told: Tensor | None
) -> Tensor:
    """r1/2 E |grad D(x)|^2 over real images and r2/2 of the same over made ones.

    R1 and R2 of Mescheder et al. 2018 (arXiv:1801.04406). The expectations are taken over a quarter
    of the batch, which costs a quarter.
    """
    few = slice(None, None, 4)
    known = None if told is None else told[few].detach()
    total = real.new_zeros(())
    for weight, images in ((r1, real), (r2, made)):
        if weight:
            x = images[few].detach().requires_grad_()
            (gradient,) = torch.autograd.grad(D(x, known).sum(), x, create_graph=True)
            total = total + weight / 2 * gradient.square().flatten(1).sum(1).mean()
    return total


def relativistic(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """The discriminator's -E log s(D(x) - D(G(z))), of logits, s the logistic function."""
    return F.softplus(d_fake - d_real).mean()


def non_saturating(d_fake: Tensor) -> Tensor:
    """The generator's -E log D(G(z)), of logits, or of D(G(z)) - D(x) in a relativistic game."""
    return F.softplus(-d_fake).mean()


def wasserstein_critic_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """A Wasserstein critic's E f(G(z)) - E f(x), of scores."""
    return d_fake.mean() - d_real.mean()


def wasserstein_generator_loss(d_fake: Tensor) -> Tensor:
    """What a generator minimises against a Wasserstein critic, -E f(G(z))."""
    return -d_fake.mean()
