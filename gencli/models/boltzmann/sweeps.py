r"""Gibbs sampling where every unit may be coupled to every other: one unit after another.

Given its random number, unit i is s_i = [x_i > logit(u_i)], where its field x_i takes in all other
units as they are just then: those before it new, those after it old. The plain form is a product
of a matrix and a vector for each unit. But the new units of a block are also the one solution of

    s = [x + L (s - s_old) > logit(u)],    L the couplings to units before, x the fields at s_old

and repeating this finds it: the first unit is right at once, the k-th after k rounds, and all of
them as soon as a round changes nothing. In practice that takes a few rounds for a block, each one
matrix product over all chains. It is the same chain, unit by unit, up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Units of a block: in larger ones rounds are dearer and more, in smaller ones there are more."""


def sweep(
    s: Tensor, couplings: Tensor, bias: Tensor, uniform: Tensor, first: int = 0
) -> tuple[Tensor, Tensor]:
    """Update the units from `first` on, in order, each given all others.

    Args:
        s: Zeros and ones (n, N).
        couplings: (N, N), symmetric, with a diagonal of zeros.
        bias: (N,); the log-odds of unit i given the others are bias_i + sum_j couplings_ij s_j.
        uniform: Numbers (n, N - first) uniform in [0, 1), one for each update.
        first: Units before it stay as they are.

    Returns:
        The units (n, N), and the log-odds (n, N - first) that each was drawn with.
    """
    s, limits = s.clone(), uniform.to(s.dtype).logit()  # u < sigmoid(x) where x > logit(u)
    fields = torch.empty_like(limits)
    for begin in range(first, s.shape[1], BLOCK):
        block = slice(begin, begin + BLOCK)
        of_block = slice(begin - first, begin - first + BLOCK)
        old, limit = s[:, block], limits[:, of_block]
        before = torch.addmm(bias[block], s, couplings[:, block])
        from_earlier = couplings[block, block].triu(1)  # from unit j, a row, to i > j
        new, field, settled = (before > limit).to(s.dtype), before, False
        while not settled:
            field = torch.addmm(before, new - old, from_earlier)
            again = (field > limit).to(s.dtype)
            new, settled = again, torch.equal(again, new)
        s[:, block], fields[:, of_block] = new, field
    return s, fields


def plain_sweep(
    s: Tensor, couplings: Tensor, bias: Tensor, uniform: Tensor, first: int = 0
) -> tuple[Tensor, Tensor]:
    """What `sweep` does, as it is written in a textbook."""
    s, fields = s.clone(), []
    for i in range(first, s.shape[1]):
        fields.append(bias[i] + s @ couplings[i])
        s[:, i] = (uniform[:, i - first] < fields[-1].sigmoid()).to(s.dtype)
    return s, torch.stack(fields, 1)
