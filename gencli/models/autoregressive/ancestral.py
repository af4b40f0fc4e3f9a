"""Ancestral sampling: pixels drawn one after another, each given those before it.

What a network computes for pixel t depends on the pixels before t alone, so nearly all of it was
computed for pixel t - 1 already. A `Conditional` is called for t = 0, 1, 2, ... and keeps what
later pixels need. The factories here make them for the fully connected models, `pixel_rows` for the
convolutional one, and `uncached` for any model, as the plain loop to compare with.

Every pixel takes one uniform number of its image's stream, drawn before the first pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gencli.errors import UsageError
from gencli.models.autoregressive.raster import from_raster, to_raster
from gencli.models.likelihoods import Likelihood

_BLOCK = 28  # pixels that `linear_conditional` gives one product to

Conditional = Callable[[int, Tensor], Tensor]
"""(t, pixels (D, n) filled before row t) -> parameters (n, P) of pixel t; called for t in order."""


def ancestral(
    conditional: Conditional,
    likelihood: Likelihood,
    uniforms: Tensor,
    shape: tuple[int, int, int],
    *,
    temperature: float = 1.0,
    given: Tensor | None = None,
    known: Tensor | None = None,
    order: Tensor | None = None,
) -> Tensor:
    """Draw images (n, C, H, W) in [0, 1].

    Args:
        conditional: The model, with its caches empty.
        likelihood: Turns parameters and a uniform number into a pixel.
        uniforms: (n, D), one number per pixel in [0, 1), in the model's precision.
        shape: (C, H, W).
        temperature: Below 1 prefers likely pixels, above 1 evens them out.
        given: (n, C, H, W), pixels to keep where `known`. Each is held fixed as its turn comes:
            pixels after it are conditioned on it, those before it are not.
        known: Bool, (H, W) or (n, 1, H, W).
        order: Pixels in the order in which they are drawn, int64 (D,); None is raster order.

    Raises:
        UsageError: If the temperature is not positive.
    """
    if not temperature > 0:
        raise UsageError(f"--temperature {temperature} is not positive.", "Use 0.1 or more.")
    order = torch.arange(uniforms.shape[1], device=uniforms.device) if order is None else order
    noise = likelihood.noise(uniforms.t().contiguous())  # (D, n)
    pixels = torch.zeros_like(noise)
    held, kept = _kept(given, known, order, pixels)
    with torch.inference_mode():  # so small are the products that autograd's upkeep counts
        for t, (row, noise_row) in enumerate(zip(pixels.unbind(0), noise.unbind(0), strict=True)):
            # Also where the pixel is known, for the caches' sake.
            drawn = likelihood.draw(conditional(t, pixels), noise_row, temperature)
            row.copy_(drawn if held is None else torch.where(held[t], kept[t], drawn))
    sequence = torch.empty_like(pixels).index_copy_(0, order, pixels)
    return from_raster(sequence.t(), shape)


def _kept(
    given: Tensor | None, known: Tensor | None, order: Tensor, like: Tensor
) -> tuple[Tensor | None, Tensor]:
    """Which pixels are known and what they are, both (D, n) in drawing order."""
    if given is None or known is None:
        return None, like
    everywhere = known.bool().broadcast_to(given.shape)
    held, kept = (to_raster(image).t()[order] for image in (everywhere, given.to(like)))
    return held, kept


def uncached(parameters: Callable[[Tensor], Tensor]) -> Conditional:
    """The whole network once per pixel; `parameters` maps (n, D) to (n, D, P)."""
    return lambda t, pixels: parameters(pixels.t())[:, t]


def linear_conditional(weight: Tensor, bias: Tensor) -> Conditional:
    """Each pixel's own linear map of those before it: `weight` (D, P, D), `bias` (D, P).

    What the pixels so far give to the next `_BLOCK` is one product; only those inside are added
    singly.
    """
    weights = weight.unbind(0)
    block: list[Tensor] = []  # (P, n) for each pixel of the block, of all before the block

    def conditional(t: int, pixels: Tensor) -> Tensor:
        start = t - t % _BLOCK
        if t == start:
            ahead = slice(start, start + _BLOCK)
            flat = weight[ahead, :, :start].flatten(0, 1)
            sums = torch.addmm(bias[ahead].flatten().unsqueeze(1), flat, pixels[:start])
            block[:] = sums.view(-1, *bias.shape[1:], pixels.shape[1]).unbind(0)
        return torch.addmm(block[t - start], weights[t][:, start:t], pixels[start:t]).t()

    return conditional


def running_conditional(
    w: Tensor, c: Tensor, v: Tensor, b: Tensor, activation: Callable[[Tensor], Tensor], n: int
) -> Conditional:
    """NADE: the hidden units' sum gains one row of `w` (D, H) per pixel.

    Args:
        w: (D, H).
        c: (H,), or (n, H) where each image has its own.
        v: (D, P, H).
        b: (D, P) or (n, D, P).
        activation: Elementwise.
        n: How many images are drawn at once.
    """
    a = c.expand(n, -1).clone()  # (n, H)
    ws, vs, bs = w.unbind(0), v.transpose(1, 2).unbind(0), b.unbind(-2)

    def conditional(t: int, pixels: Tensor) -> Tensor:
        if t > 0:
            a.addr_(pixels[t - 1], ws[t - 1])
        return torch.addmm(bs[t], activation(a), vs[t])

    return conditional


def layered_conditional(
    weights: Sequence[Tensor], biases: Sequence[Tensor], degrees: Sequence[Tensor], n: int
) -> Conditional:
    """MADE: each hidden unit is computed once, when the last of its inputs is known.

    Units are sorted by degree, so those complete at any time are the first so many of their layer,
    and one pixel costs one product per layer with the units that it completes.

    Args:
        weights: One (out, in) per layer, in the pixels' order; the last has P rows per pixel.
        biases: (out,) each, or (n, out) where each image has its own.
        degrees: Of each hidden layer's units, int64 (H,): a unit of degree m is a function of the
            first m pixels.
        n: How many images are drawn at once.
    """
    n_pixels = weights[0].shape[1]
    order = [degree.argsort(stable=True) for degree in degrees]
    known = torch.arange(n_pixels + 1, device=weights[0].device)
    counts = [  # how many units are complete when 0, 1, ..., D pixels are known
        torch.searchsorted(degree.sort().values, known, right=True).tolist() for degree in degrees
    ]
    columns: list[Tensor | None] = [None, *order]
    rows: list[Tensor | None] = [*order, None]
    sorted_weights, sorted_biases = [], []
    for weight, bias, row, column in zip(weights, biases, rows, columns, strict=True):
        weight = weight if column is None else weight[:, column]
        sorted_weights.append((weight if row is None else weight[row]).contiguous())
        column_bias = bias.view(-1, bias.shape[-1]).t()  # (out, 1) or (out, n)
        sorted_biases.append(column_bias if row is None else column_bias[row])
    *hidden_weights, last = sorted_weights
    *hidden_biases, last_bias = sorted_biases
    lasts = last.view(n_pixels, -1, last.shape[1]).unbind(0)  # D of (P, H)
    last_biases = last_bias.t().reshape(-1, n_pixels, lasts[0].shape[0]).unbind(1)  # (1 or n, P)
    layers = [weight.new_zeros(weight.shape[0], n) for weight in hidden_weights]  # (H, n)

    def conditional(t: int, pixels: Tensor) -> Tensor:
        below, n_below = pixels, t
        for layer, weight, bias, count in zip(
            layers, hidden_weights, hidden_biases, counts, strict=True
        ):
            first, end = (count[t - 1] if t else 0), count[t]
            if end > first:
                new = torch.addmm(bias[first:end], weight[first:end, :n_below], below[:n_below])
                torch.clamp(new, min=0, out=layer[first:end])
            below, n_below = layer, end
        return torch.addmm(last_biases[t], below[:n_below].t(), lasts[t][:, :n_below].t())

    return conditional
