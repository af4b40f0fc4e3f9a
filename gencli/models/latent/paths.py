"""Paths through a latent space whose prior is a standard Gaussian."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

PathKind = Literal["spherical", "linear"]


def lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at `t` in [0, 1] of the straight line from `a` to `b`, both (B, ...)."""
    return (1 - t) * a + t * b


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at `t` in [0, 1] of the arc from each row of `a` to that of `b`, both (B, ...).

    The direction moves along the great circle at constant speed and the norm goes linearly, so
    that points between two draws of a high-dimensional Gaussian stay where its mass is, unlike
    those of the straight line (White 2016, arXiv:1609.04468). With u and p the orthonormal pair
    that spans a row's plane, and omega the angle from a to b:

        z(t) = ((1 - t) |a| + t |b|) (cos(t omega) u + sin(t omega) p)

    Parallel rows give the straight line. Opposite rows have no shortest arc: one of the half
    circles is taken, always the same. In one dimension there is no arc, only the line.
    """
    if a[0].numel() == 1:
        return lerp(a, b, t)
    rows_a, rows_b = a.cpu().flatten(1).double(), b.cpu().flatten(1).double()  # MPS has no double
    norm_a, norm_b = rows_a.norm(dim=1, keepdim=True), rows_b.norm(dim=1, keepdim=True)
    u = F.normalize(rows_a, dim=1)
    along = (rows_b * u).sum(1, keepdim=True)
    across = rows_b - along * u
    height = across.norm(dim=1, keepdim=True)
    omega = torch.atan2(height, along)
    opposite = (along < 0) & (height < 1e-6 * norm_b)
    p = torch.where(opposite, _perpendicular(u), F.normalize(across, dim=1))
    arc = torch.cos(t * omega) * u + torch.sin(t * omega) * p
    return lerp(norm_a, norm_b, t).mul(arc).view(a.shape).to(a)


def _perpendicular(u: Tensor) -> Tensor:
    """A unit vector at right angles to each row: the axis it uses least, made orthogonal."""
    axis = F.one_hot(u.abs().argmin(1), u.shape[1]).to(u)
    return F.normalize(axis - (axis * u).sum(1, keepdim=True) * u, dim=1)


def path(a: Tensor, b: Tensor, n: int, kind: PathKind = "spherical") -> Tensor:
    """(B, n, ...): `n` evenly spaced points from each row of `a` to that of `b`, ends included.

    Args:
        a: Where the paths begin, (B, ...).
        b: Where they end, (B, ...).
        n: Points on a path, at least 2.
        kind: `spherical` for arcs, which suit Gaussian latents; `linear` for straight lines.
    """
    between = slerp if kind == "spherical" else lerp
    inner = [between(a, b, i / (n - 1)) for i in range(1, n - 1)]
    return torch.stack([a, *inner, b], dim=1)


def manifold_grid(n: int) -> Tensor:
    """(n * n, 2): a sheet of points that a 2-D standard Gaussian spreads evenly over.

    Row and column i stand at the quantile (i + 1/2) / n, so that each point speaks for an equal
    share of the prior. Row by row from the top as in a plot: the first coordinate grows to the
    right, the second upwards.
    """
    shares = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    quantiles = torch.special.ndtri(shares).float()
    y, x = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)
