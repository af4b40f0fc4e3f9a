r"""Annealed importance sampling (Neal 2001, arXiv:physics/9803008) of a normaliser.

Between f_0, which can be sampled and normalised, and the target f_1 stand unnormalised densities
f_beta. Each chain starts with a draw from f_0 and moves through them; its weight

    log w = sum_j log f_{beta_j}(v_{j-1}) - log f_{beta_{j-1}}(v_{j-1}),  v_j ~ T_{beta_j}(v_{j-1})

has E[w] = Z_1 / Z_0 for any number of temperatures, as long as T_beta leaves f_beta unchanged.
Chains that do not mix make log Z come out low, hence likelihoods high, and the standard error does
not show it; a run with more temperatures does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def ais(
    v: Tensor,
    log_f: Callable[[Tensor, float], Tensor],
    transition: Callable[[Tensor, float], Tensor],
    n_temperatures: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[float, float]:
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
        (log Z_1 - log Z_0, its standard error), in nats.

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


def log_mean_exp(log_w: Tensor) -> tuple[float, float]:
    """Log weights (n,) -> log of the mean weight and its standard error, by the delta method."""
    log_w = log_w.double()
    largest = log_w.max()
    w = (log_w - largest).exp()
    standard_error = w.std() / (w.mean() * math.sqrt(len(w)))
    return float(largest + w.mean().log()), float(standard_error)
