"""Training PixelCNN (15 blocks of 32 channels, bottleneck 16, batch 64) against a plain program.

The plain program is what one writes: a Conv2d whose weight is multiplied by its mask before each
call, in fp32 and the default memory format, a DataLoader over binarised MNIST-sized images, Adam,
`loss.item()` every step; features per position and biases per pixel are left out of it. Ours is a
step of the trainer on the same architecture: resident data, channels_last, kernels without their
masked half, bf16 where the processor has it. A step cannot do without three products with every
unmasked weight at every position.

    python benchmarks/pixelcnn_training.py [--pairs 5] [--steps 8] [--precision bf16]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
import torch.nn.functional as F
from common import alternate, matmul_rate, report
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gencli.data.spec import DataInfo
from gencli.models.autoregressive.configs import PixelCNNConfig
from gencli.models.autoregressive.pixelcnn import PixelCNN
from gencli.models.interface import Batch, Step

CHANNELS, BLOCKS, BATCH = 32, 15, 64
DATA = DataInfo(1, 28, 28, binarization="static")


class MaskedConv(nn.Conv2d):
    """A convolution whose weight is masked in place before each call."""

    def __init__(self, kind: str, *arguments: int, **keywords: int) -> None:
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        mask = torch.ones_like(self.weight)
        middle = self.kernel_size[0] // 2
        mask[:, :, middle, middle + (kind == "B") :] = 0
        mask[:, :, middle + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        self.weight.data *= self.mask
        return super().forward(x)


class PlainBlock(nn.Module):
    """The residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS // 2, 1),
            nn.ReLU(), MaskedConv("B", CHANNELS // 2, CHANNELS // 2, 3, padding=1),
            nn.ReLU(), nn.Conv2d(CHANNELS // 2, CHANNELS, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        return x + self.layers(x)


def plain_network() -> nn.Module:
    """The same architecture, plainly."""
    return nn.Sequential(
        MaskedConv("A", 1, CHANNELS, 7, padding=3),
        *(PlainBlock() for _ in range(BLOCKS)),
        nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(), nn.Conv2d(CHANNELS, 1, 1),
    )  # fmt: skip


def plain(images: Tensor, n_steps: int) -> float:
    """Images per second of the plain program."""
    torch.manual_seed(0)
    network = plain_network()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    batches: Any = iter(DataLoader(TensorDataset(images), BATCH, shuffle=True))
    for step in range(n_steps + 1):
        if step == 1:
            began = time.perf_counter()
        (x,) = next(batches)
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(x), x, reduction="sum") / BATCH
        loss.backward()
        optimizer.step()
        loss.item()
    return n_steps * BATCH / (time.perf_counter() - began)


def ours(images: Tensor, n_steps: int, precision: str) -> float:
    """Images per second of the same work as the trainer does it."""
    torch.manual_seed(0)
    model = PixelCNN(PixelCNNConfig(channels=CHANNELS, blocks=BLOCKS, kernel=3), DATA)
    resident = images.to(torch.uint8)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0, fused=True)
    order = torch.randperm(len(images))
    for step in range(n_steps + 1):
        if step == 1:
            began = time.perf_counter()
        x = resident[order[step * BATCH : (step + 1) * BATCH]].float()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model.loss(Batch(x), Step()).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return n_steps * BATCH / (time.perf_counter() - began)


def main() -> None:
    """Measure both, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    arguments = parser.parse_args()
    images = (torch.rand(BATCH * (arguments.steps + 1), 1, 28, 28) < 0.2).float()
    rates = alternate(
        lambda: ours(images, arguments.steps, arguments.precision),
        lambda: plain(images, arguments.steps),
        arguments.pairs,
    )
    model = PixelCNN(PixelCNNConfig(channels=CHANNELS, blocks=BLOCKS, kernel=3), DATA)
    weights = sum(int(mask.sum()) for mask in model.buffers())
    kind = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    report(
        f"pixelcnn training, {arguments.precision}", *rates, unit="images/s",
        multiply_adds=3 * weights * DATA.n_pixels, rate=matmul_rate(kind),
    )  # fmt: skip


if __name__ == "__main__":
    main()
