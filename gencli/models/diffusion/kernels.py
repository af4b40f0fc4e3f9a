"""Markov kernels on the levels of a pixel, of which any two times are joined in closed form.

A pixel has K states, and q(x_t | x_s) = Q_{t|s}[x_s, x_t] depends on the times alone. Both kernels
here are symmetric, commute and tend to the uniform distribution, so that posteriors follow from
products of single entries (Austin et al. 2021, arXiv:2107.03006, equation 3), and no table of T
matrices is kept. Distributions over states are (n, K, C, H, W), states (n, C, H, W), int64.

A matrix is told by a few numbers, a row `k` of `cumulative`, `single` or `between`.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SMALLEST = 1e-20  # of a Gaussian's tails; the transform leaves rounding errors of 1e-17 there


class Kernel(Protocol):
    """A family of K x K matrices.

    Attributes:
        levels: K.
        timesteps: T.
        cumulative: What tells Q_{t|0}, (T + 1, P).
        single: What tells Q_{t|t-1}, (T + 1, P); row 0 is the identity.
    """

    levels: int
    timesteps: int
    cumulative: Tensor
    single: Tensor

    def between(self, s: int, t: int) -> Tensor:
        """What tells Q_{t|s}, (1, P)."""
        ...

    def row(self, x: Tensor, k: Tensor) -> Tensor:
        """Where the states `x` go by the matrices `k` (n or 1, P), or come from: symmetric."""
        ...

    def spread(self, p: Tensor, k: Tensor) -> Tensor:
        """The distributions `p` taken through the matrices `k` (n or 1, P)."""
        ...


class UniformKernel(nn.Module):
    """A pixel stays, or is drawn anew: Q_{t|s} = (a_t / a_s) I + (1 - a_t / a_s) / K.

    On two levels it is the binomial kernel of Sohl-Dickstein et al. 2015 (arXiv:1503.03585). The
    share a_t of pixels never drawn falls as a cosine (Hoogeboom et al. 2021, arXiv:2102.05379).
    """

    cumulative: Tensor
    single: Tensor

    def __init__(self, levels: int, timesteps: int) -> None:
        super().__init__()
        self.levels, self.timesteps = levels, timesteps
        angle = (torch.arange(timesteps + 1, dtype=torch.float64) / timesteps + 0.008) / 1.008
        a = (angle * math.pi / 2).cos()
        a = a / a[0]
        a[-1] = 0  # but for rounding
        single = torch.cat([a.new_ones(1), a[1:] / a[:-1]])
        self.register_buffer("cumulative", a.float()[:, None], persistent=False)
        self.register_buffer("single", single.float()[:, None], persistent=False)

    def between(self, s: int, t: int) -> Tensor:
        """That is a_t / a_s; see `Kernel`."""
        return (self.cumulative[t] / self.cumulative[s])[None]

    def row(self, x: Tensor, k: Tensor) -> Tensor:
        """See `Kernel`."""
        return self.spread(F.one_hot(x, self.levels).movedim(-1, 1).to(k.dtype), k)

    def spread(self, p: Tensor, k: Tensor) -> Tensor:
        """See `Kernel`."""
        return torch.lerp(p.new_full((), 1 / self.levels), p, k[:, :, None, None, None])


class GaussianKernel(nn.Module):
    """A pixel walks to its neighbours for a time tau, and the ends of the range reflect it.

    Q_{t|s} is the heat kernel of a path of K states, the discrete counterpart of a Gaussian of
    variance 2 (tau_t - tau_s). A path is half a cycle of 2K states seen from its mirror image:

        Q[i, j] = g(i - j) + g(i + j + 1),   g = the heat kernel of the cycle, by one Fourier sum.

    D3PM instead normalises exp(-(i - j)^2 / ...) within the range, whose powers have no closed
    form. The standard deviations grow geometrically, from two fifths of a level to 1.25 K.
    """

    cumulative: Tensor
    single: Tensor

    def __init__(self, levels: int, timesteps: int) -> None:
        super().__init__()
        self.levels, self.timesteps = levels, timesteps
        deviation = torch.logspace(
            math.log10(0.4), math.log10(1.25 * levels), timesteps, dtype=torch.float64
        )
        tau = torch.cat([deviation.new_zeros(1), deviation.square() / 2])
        self.tau = tuple(tau.tolist())
        steps = tau.diff(prepend=tau[:1])
        self.register_buffer("cumulative", _cycle(tau, levels).float(), persistent=False)
        self.register_buffer("single", _cycle(steps, levels).float(), persistent=False)

    def between(self, s: int, t: int) -> Tensor:
        """The heat kernel (1, K + 1) of the cycle at distances from 0; see `Kernel`."""
        tau = torch.tensor([self.tau[t] - self.tau[s]], dtype=torch.float64)
        return _cycle(tau, self.levels).to(self.cumulative)

    def row(self, x: Tensor, k: Tensor) -> Tensor:
        """See `Kernel`."""
        matrices = self._matrices(k).expand(len(x), -1, -1)
        images = torch.arange(len(x), device=x.device)[:, None]
        return matrices[images, x.flatten(1)].mT.reshape(len(x), -1, *x.shape[1:])

    def spread(self, p: Tensor, k: Tensor) -> Tensor:
        """See `Kernel`."""
        return (self._matrices(k) @ p.flatten(2)).view_as(p)

    def _matrices(self, k: Tensor) -> Tensor:
        """(n, P) -> (n, K, K): windows that slide along g; gathering entries takes far longer."""
        K = self.levels
        beside = torch.cat([k[:, 1:K].flip(1), k[:, :K]], 1)  # g(i - j), i - j from 1 - K on
        mirrored = torch.cat([k[:, 1:], k[:, 1:K].flip(1)], 1)  # g(i + j + 1), i + j from 0 on
        return beside.unfold(1, K, 1).flip(1) + mirrored.unfold(1, K, 1)


def _cycle(tau: Tensor, levels: int) -> Tensor:
    """Heat kernels of a cycle of 2K states at distances 0..K after times `tau` (n,): (n, K + 1)."""
    angle = torch.arange(levels + 1, dtype=torch.float64) * (math.pi / levels)
    decay = torch.exp(-tau[:, None] * (2 - 2 * angle.cos()))
    kernels: Tensor = torch.fft.irfft(decay, n=2 * levels)[:, : levels + 1]
    return kernels.clamp(min=_SMALLEST)
