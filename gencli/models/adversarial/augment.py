"""What happens to images before a discriminator sees them, real and made alike.

It cannot then learn the real ones by heart, and gradients still reach the generator, since all of
this is differentiable (Zhao et al. 2020, arXiv:2006.10738): shifts, squares that are hidden, and
changes of brightness, saturation and contrast.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def augmentation(shift: int, cutout: int, colours: bool) -> Callable[[Tensor], Tensor] | None:
    """Images (B, C, H, W) -> the same, augmented by what is not zero; None where all is."""
    steps: list[Callable[[Tensor], Tensor]] = []
    if colours:
        steps.append(recoloured)
    if shift:
        steps.append(lambda images: shifted(images, shift))
    if cutout:
        steps.append(lambda images: cut_out(images, cutout))
    if not steps:
        return None

    def augment(images: Tensor) -> Tensor:
        for step in steps:
            images = step(images)
        return images

    return augment


def shifted(images: Tensor, most: int) -> Tensor:
    """Images (B, C, H, W), each moved by up to `most` pixels along both sides, black coming in.

    What moves is the window on a padded image, by an index for every pixel.
    """
    n, _, height, width = images.shape
    device = images.device
    down, right = torch.randint(2 * most + 1, (2, n, 1), device=device)
    rows = (down + torch.arange(height, device=device)).unsqueeze(2)
    columns = (right + torch.arange(width, device=device)).unsqueeze(1)
    each = torch.arange(n, device=device).view(-1, 1, 1)
    padded = F.pad(images, (most,) * 4).permute(0, 2, 3, 1)
    return padded[each, rows, columns].permute(0, 3, 1, 2)


def cut_out(images: Tensor, side: int) -> Tensor:
    """Images (B, C, H, W), a square of `side` pixels grey in each, its middle anywhere."""
    n, _, height, width = images.shape
    inside = []
    for size in (height, width):
        first = torch.randint(size, (n, 1), device=images.device) - side // 2
        at = torch.arange(size, device=images.device)
        inside.append((first <= at) & (at < first + side))
    rows, columns = inside
    hidden = rows.view(n, 1, height, 1) & columns.view(n, 1, 1, width)
    return images.masked_fill(hidden, 0.5)


def recoloured(images: Tensor) -> Tensor:
    """Images (B, C, H, W), the brightness, saturation and contrast of each changed at random.

    Brightness by up to 1/2, saturation by a factor of 0 to 2, contrast of 1/2 to 3/2. Values may
    leave [0, 1].
    """
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, 2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, 0.5 + contrast)
