"""A compact U-Net that reads noisy images and a time: the network of diffusion models.

Residual blocks with group normalisation, time, class and caption as a scale and shift of the second
normalisation, self-attention at the lowest resolution: Ho et al. 2020 (arXiv:2006.11239) with the
adaptive normalisation of Dhariwal and Nichol 2021 (arXiv:2105.05233). Patches of 2x2 pixels may be
folded into channels at the ends, as in Luhman and Luhman 2022 (arXiv:2207.04316).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion.configs import UNetConfig
from gencli.models.text import CaptionEncoder

_N_SINUSOID = 64


def unet_for(config: UNetConfig, data: DataInfo, n_in: int, n_out: int) -> UNet:
    """The U-Net of a config, from `n_in` to `n_out` planes for each channel of the data.

    Raises:
        UsageError: If the images cannot be halved as often as there are resolutions.
    """
    factor = config.patch * 2 ** (len(config.multipliers) - 1)
    if data.height % factor or data.width % factor:
        raise UsageError(
            f"This U-Net halves images of {data.height}x{data.width} to fractions of a pixel.",
            f"Use sizes divisible by {factor}, fewer --multipliers or a smaller --patch.",
        )
    return UNet(
        n_in * data.channels,
        width=config.width,
        multipliers=config.multipliers,
        n_blocks=config.blocks,
        patch=config.patch,
        n_classes=data.n_classes if config.conditional else 0,
        n_tokens=data.n_tokens if "text" in config.conditions() else 0,
        dropout=config.dropout,
        out_channels=n_out * data.channels,
    )


class UNet(nn.Module):
    """(B, C, H, W) images, (B,) times and perhaps what is told -> (B, C', H, W).

    Args:
        channels: C.
        width: Channels at the highest resolution.
        multipliers: Channels of each resolution, in widths; each next one has half the side.
        n_blocks: Residual blocks of each resolution, on the way down and on the way up.
        patch: Side of the pixel patches folded into channels. H and W are multiples of
            `patch * 2 ** (len(multipliers) - 1)`.
        n_classes: Classes to condition on; class `n_classes` means none. 0 takes no classes.
        n_tokens: Tokens of captions to condition on; an empty one means none. 0 takes no captions.
        dropout: Probability of dropping an activation of a residual block.
        out_channels: C'; None is C.
    """

    blocks_in = ("down", "middle", "up")

    def __init__(
        self,
        channels: int,
        *,
        width: int,
        multipliers: tuple[int, ...],
        n_blocks: int,
        patch: int = 1,
        n_classes: int = 0,
        n_tokens: int = 0,
        dropout: float = 0.0,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        n_out = channels if out_channels is None else out_channels
        n_embedding = 4 * width
        self.patch = patch
        self.embed_time = nn.Sequential(
            nn.Linear(_N_SINUSOID, n_embedding), nn.SiLU(), nn.Linear(n_embedding, n_embedding)
        )
        self.embed_class = nn.Embedding(n_classes + 1, n_embedding) if n_classes else None
        self.embed_text = _reader(n_tokens, n_embedding) if n_tokens else None

        def block(n_in: int, n_out: int) -> ResidualBlock:
            return ResidualBlock(n_in, n_out, n_embedding, dropout)

        widths = [width * m for m in multipliers]
        self.stem = nn.Conv2d(channels * patch**2, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        n, skips = width, []
        for level, n_level in enumerate(widths):
            if level > 0:
                self.down.append(nn.Conv2d(n, n, 3, stride=2, padding=1))
            for _ in range(n_blocks):
                self.down.append(block(n, n_level))
                n = n_level
                skips.append(n)
        self.middle = nn.ModuleList([block(n, n), Attention(n), block(n, n)])
        for level, n_level in reversed(list(enumerate(widths))):
            for _ in range(n_blocks):
                self.up.append(block(n + skips.pop(), n_level))
                n = n_level
            if level > 0:
                self.up.append(nn.Upsample(scale_factor=2, mode="nearest"))
        self.head = nn.Sequential(
            _norm(n), nn.SiLU(), _zero(nn.Conv2d(n, n_out * patch**2, 3, padding=1))
        )

    def embed(self, condition: Condition) -> Tensor | None:
        """Class and caption as a vector for each image, (B, E); None where it is told neither."""
        told = []
        if self.embed_class is not None and condition.labels is not None:
            told.append(self.embed_class(condition.labels))
        if self.embed_text is not None and condition.text is not None:
            told.append(self.embed_text(condition.text))
        return sum(told[1:], told[0]) if told else None

    def forward(self, x: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        """Read `x` at times `t`, on a scale of 0 to about 1000, told what `embed` gives."""
        embedding = self.embed_time(sinusoid(t, _N_SINUSOID).to(x.dtype))
        if told is not None:
            embedding = embedding + told
        embedding = F.silu(embedding)
        h = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        h = self.stem(h)
        skips = []
        for layer in self.down:
            if isinstance(layer, ResidualBlock):
                h = layer(h, embedding)
                skips.append(h)
            else:
                h = layer(h)
        for layer in self.middle:
            h = layer(h, embedding) if isinstance(layer, ResidualBlock) else layer(h)
        for layer in self.up:
            if isinstance(layer, ResidualBlock):
                h = layer(torch.cat([h, skips.pop()], 1), embedding)
            else:
                h = layer(h)
        return F.pixel_shuffle(self.head(h), self.patch)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after a group norm and SiLU; starts as the identity or a 1x1."""

    def __init__(self, n_in: int, n_out: int, n_embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.modulate = nn.Linear(n_embedding, 2 * n_out)
        self.norm2 = _norm(n_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _zero(nn.Conv2d(n_out, n_out, 3, padding=1))
        self.skip = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, n_in, H, W), (B, n_embedding) -> (B, n_out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, 1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.skip(x) + self.conv2(self.dropout(h))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Residual self-attention over positions, heads of 32 channels where they divide."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n_heads = n // math.gcd(n, 32)
        self.norm = _norm(n)
        self.qkv = nn.Linear(n, 3 * n)
        self.out = _zero(nn.Linear(n, n))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, H, W) -> (B, n, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, H*W, n)
        qkv = self.qkv(tokens).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        # In full precision: PyTorch's fused kernel for the CPU is far slower in bf16.
        with torch.autocast(x.device.type, enabled=False):
            read = F.scaled_dot_product_attention(*qkv.to(self.qkv.weight.dtype))
        out: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return x + out.transpose(1, 2).reshape(x.shape)


def sinusoid(t: Tensor, n: int) -> Tensor:
    """Times (B,) as sines and cosines (B, n) of wavelengths from 2 pi to 20,000 pi."""
    frequencies = torch.exp(-math.log(1e4) / (n // 2) * torch.arange(n // 2, device=t.device))
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def _reader(n_tokens: int, n: int) -> nn.Module:
    return nn.Sequential(CaptionEncoder(n_tokens, n), nn.Linear(n, n))


def _norm(n: int) -> nn.GroupNorm:
    # Groups of 16 channels where they divide: PyTorch is far slower on the CPU over fewer in bf16.
    return nn.GroupNorm(n // math.gcd(n, 16), n)


def _zero(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
