"""Diffusion over the states of pixels by a symmetric kernel: posteriors, the bound, sampling.

With weights l(x_0) from the network for each pixel, in the light of all of x_t,

    p(x_s | x_t) prop. to  sum_{x_0} q(x_s, x_t | x_0) exp l(x_0)
                        =  Q_{t|s}[x_s, x_t] sum_{x_0} Q_{s|0}[x_0, x_s] exp l(x_0),    s < t,

the x_0-parameterisation of Austin et al. 2021 (arXiv:2107.03006, equation 4): exp l is what the
other pixels say of this one, and Bayes' rule adds what its own noisy value does. At s = 0 it is
p(x_0 | x_t), in proportion to q(x_t | x_0) exp l(x_0). Shapes are as in `kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from gencli.models.diffusion.kernels import Kernel
from gencli.random import ImageGenerator

Predict = Callable[[Tensor, Tensor], Tensor]
"""States x_t (n, C, H, W) and times (n,) -> log-weights (n, K, C, H, W) that sum to one as exp."""

OnStates = Callable[[int, int, Tensor], None]
"""Called after each step with its number, from 1, how many there are, and the states then."""

_TINY = 1e-37  # a probability that float32 still holds


def log_posterior(kernel: Kernel, x_0: Tensor, x_t: Tensor, first: Tensor, then: Tensor) -> Tensor:
    """Log q(x_s | x_t, x_0), (n, K, C, H, W), in nats.

    Args:
        kernel: Of the chain.
        x_0: Where it began.
        x_t: Where it is.
        first: Tells Q_{s|0}, (n or 1, P).
        then: Tells Q_{t|s}, likewise.
    """
    return log_normalised(kernel.row(x_t, then) * kernel.row(x_0, first))


def log_reverse(kernel: Kernel, log_p: Tensor, x_t: Tensor, first: Tensor, then: Tensor) -> Tensor:
    """Log p(x_s | x_t), (n, K, C, H, W), by the weights `log_p`; otherwise as `log_posterior`."""
    return log_normalised(kernel.row(x_t, then) * kernel.spread(log_p.exp(), first))


def divergence(kernel: Kernel, log_p: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), (n,) nats; at t = 1 it is -log p(x_0 | x_1).

    Args:
        kernel: Of the chain.
        log_p: Weights by x_t.
        x_0: Images.
        x_t: The same, noised.
        t: Times (n,) from 1 on.
    """
    first, then = kernel.cumulative[t - 1], kernel.single[t]
    log_q = log_posterior(kernel, x_0, x_t, first, then)
    log_r = log_reverse(kernel, log_p, x_t, first, then)
    return (log_q.exp() * (log_q - log_r)).flatten(1).sum(1)


def noised(kernel: Kernel, x_0: Tensor, t: Tensor) -> Tensor:
    """A draw from q(x_t | x_0) for times (n,), by torch's global generators."""
    uniforms = torch.rand(x_0.shape, device=x_0.device)
    return pick(kernel.row(x_0, kernel.cumulative[t]), uniforms)


def prior_divergence(kernel: Kernel, x_0: Tensor) -> Tensor:
    """KL(q(x_T | x_0) || uniform), (n,) nats: what the chain does not forget, nearly nothing."""
    q = kernel.row(x_0, kernel.cumulative[-1:])
    return torch.xlogy(q, q * kernel.levels).flatten(1).sum(1)


def variational_bound(kernel: Kernel, predict: Predict, x_0: Tensor, n_terms: int) -> Tensor:
    """A draw (n,) whose mean is the variational bound on -log p(x_0), in nats.

    Args:
        kernel: Of the chain.
        predict: The model.
        x_0: Images as states.
        n_terms: Terms of the sum over t = 1..T drawn for each image, one of each `n_terms`-th of
            it; all of them from T on.
    """
    T = kernel.timesteps
    n = min(n_terms, T)
    offset = torch.rand(len(x_0), dtype=torch.float64)
    bound = prior_divergence(kernel, x_0)
    for j in range(n):
        t = 1 + ((j + offset) * (T / n)).long().clamp(max=T - 1).to(x_0.device)
        x_t = noised(kernel, x_0, t)
        bound = bound + T / n * divergence(kernel, predict(x_t, t), x_0, x_t, t)
    return bound


def run_chain(
    kernel: Kernel,
    predict: Predict,
    x_0: Tensor,
    known: Tensor,
    times: Sequence[int],
    *,
    generator: ImageGenerator,
    on_step: OnStates | None = None,
) -> Tensor:
    """Draw x_T, and then the chain back to x_0, in states (n, C, H, W).

    Args:
        kernel: Of the chain.
        predict: The model.
        x_0: States (n, C, H, W), of which only the known ones count.
        known: Bool, likewise. Known pixels follow q(x_s | x_t, x_0), and the others see them
            noised as much as themselves.
        times: From T down to 0; composed kernels bridge those left out.
        generator: Of the draws.
        on_step: Called after each step.
    """
    shape, x_0 = x_0.shape[1:], x_0.masked_fill(~known, 0)
    x = (generator.uniform(*shape) * kernel.levels).long()
    for i, (t, s) in enumerate(pairwise(times), 1):
        first, then = kernel.cumulative[s][None], kernel.between(s, t)
        log_p = predict(x, torch.full((len(x),), t, device=x.device))
        log_r = log_reverse(kernel, log_p, x, first, then)
        log_q = log_posterior(kernel, x_0, x, first, then)
        p = torch.where(known[:, None], log_q, log_r).exp()
        x = pick(p, generator.uniform(*shape))
        if on_step:
            on_step(i, len(times) - 1, x)
    return x


def pick(p: Tensor, uniforms: Tensor) -> Tensor:
    """Draw states by distributions (n, K, ...) and uniform numbers (n, ...) in [0, 1)."""
    return (p.cumsum(1)[:, :-1] <= uniforms[:, None]).sum(1)


def log_normalised(mass: Tensor) -> Tensor:
    """The logarithm of `mass` (n, K, ...) divided by its sum over K."""
    return mass.clamp(min=_TINY).log().log_softmax(1)
