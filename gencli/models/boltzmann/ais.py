r"""Annealed importance sampling (Neal 2001, arXiv:physics/9803008) of a normaliser.

Between f_0, which can be sampled and normalised, and the target f_1 stand unnormalised densities
f_beta. Each chain starts with a draw from f_0 and moves through them; its weight

    log w = sum_j log f_{beta_j}(v_{j-1}) - log f_{beta_{j-1}}(v_{j-1}),  v_j ~ T_{beta_j}(v_{j-1})

has E[w] = Z_1 / Z_0 for any number of temperatures, as long as T_beta leaves f_beta unchanged.
Few chains with widely spread weights make log Z come out low, hence likelihoods high: the mean is
carried by rare large weights, and where none was met the standard error is small as well. So a
result has its effective sample size, (sum w)^2 / sum w^2 (Kong 1992). On small RBMs whose Z is
known, log Z was within two standard errors in 94% of repeats where this was 50 or more, in 91%
where it was 20 to 50, in 84% where it was 10 to 20, and in 68% to 80% below. It does not show modes
that no chain comes to at all; a run with more temperatures may.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST_EFFECTIVE = 50
"""The effective sample size below which the standard error is not to be trusted."""


@dataclass(frozen=True)
class Annealed:
    """An estimate of a log normaliser, or of a ratio of two, in nats.

    Attributes:
        value: The estimate.
        standard_error: Of the value, by the delta method.
        effective_chains: Effective sample size of the weights, from 1 to the number of chains.
    """

    value: float
    standard_error: float
    effective_chains: float

    @property
    def doubt(self) -> str | None:
        """Why the standard error is not to be trusted, in a line; None where it is."""
        if self.effective_chains >= FEWEST_EFFECTIVE:
            return None
        return (
            f"annealed importance sampling had {self.effective_chains:.0f} effective chains, which "
            f"is under {FEWEST_EFFECTIVE}: the likelihood may be flattered by more than its error"
        )


def ais(
    v: Tensor,
    log_f: Callable[[Tensor, float], Tensor],
    transition: Callable[[Tensor, float], Tensor],
    n_temperatures: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Annealed:
    """Estimate log Z_1 - log Z_0.

    At each temperature `log_f` is called twice and `transition` once, on the very same tensor, so
    that a caller can keep what they share (an RBM's v W).

    Args:
        v: Exact draws (n_chains, ...) from f_0; the chains run side by side.
        log_f: (v, beta) -> log f_beta(v), (n_chains,) nats.
        transition: (v, beta) -> the next v, by a kernel that leaves f_beta unchanged.
        n_temperatures: Steps of beta from 0 to 1, of equal size.
        progress: Called with (temperatures done, temperatures in all).

    Returns:
        Log Z_1 - log Z_0.

    Raises:
        ValueError: If there are fewer than two chains, which give no standard error, or no step.
    """
    if len(v) < 2 or n_temperatures < 1:
        raise ValueError("annealing needs at least two chains and one step")
    log_w = torch.zeros(len(v), dtype=torch.float64, device=v.device)
    for j in range(n_temperatures):
        before, beta = j / n_temperatures, (j + 1) / n_temperatures
        log_w += log_f(v, beta).double() - log_f(v, before).double()
        v = transition(v, beta)
        if progress is not None:
            progress(j + 1, n_temperatures)
    return log_mean_exp(log_w)


def log_mean_exp(log_w: Tensor) -> Annealed:
    """Log weights (n,) -> the log of their mean."""
    log_w = log_w.double()
    largest = log_w.max()
    w = (log_w - largest).exp()
    standard_error = w.std() / (w.mean() * math.sqrt(len(w)))
    effective = w.sum().square() / w.square().sum()
    return Annealed(float(largest + w.mean().log()), float(standard_error), float(effective))
