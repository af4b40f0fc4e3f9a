"""Training PixelRNN (one diagonal layer, states of 32, batch 16) against a loop over the pixels.

The plain program is what one writes from the paper's equations: input-to-state products of the
whole map, then a loop over rows and columns in which each pixel's LSTM cell takes the states to its
left and above it, and autograd; Adam, a DataLoader, `loss.item()` every step. The map from the
right is the same on the mirrored image. Features per position and biases per pixel are left out of
it. Indexing the map at each pixel makes a gradient as large as the map for each; with
`--loop unbound` the map is taken apart at once, which a careful author would do. Ours is a step of
the trainer on the same architecture, a diagonal at a time. A step cannot do without three products
with every unmasked weight at every pixel.

    python benchmarks/pixelrnn_training.py [--pairs 5] [--steps 4] [--batch 16] [--loop unbound]
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
from gencli.models.autoregressive.configs import PixelRNNConfig
from gencli.models.autoregressive.pixelrnn import PixelRNN
from gencli.models.interface import Batch, Step

CHANNELS = 64
DATA = DataInfo(1, 28, 28, binarization="static")


class PlainLSTM(nn.Module):
    """One direction of the layer, a pixel at a time."""

    def __init__(self, unbound: bool) -> None:
        super().__init__()
        self.unbound = unbound
        h = CHANNELS // 2
        self.input = nn.Conv2d(CHANNELS, 4 * h, 1)
        self.left = nn.Linear(h, 4 * h, bias=False)
        self.above = nn.Linear(h, 4 * h, bias=False)
        self.expand = nn.Conv2d(h, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        height, width = x.shape[2:]
        z = self.input(x)
        parts = [part.unbind(0) for part in z.permute(2, 3, 0, 1).unbind(0)]
        nothing = x.new_zeros(len(x), CHANNELS // 2)
        states = [[nothing] * width]
        for row in range(height):
            h = c = nothing
            line = []
            for column, above in enumerate(states[-1]):
                own = parts[row][column] if self.unbound else z[:, :, row, column]
                o, f, i, g = (own + self.left(h) + self.above(above)).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                line.append(h)
            states.append(line)
        out: Tensor = torch.stack([torch.stack(line, -1) for line in states[1:]], -2)
        return self.expand(out)  # type: ignore[no-any-return]


class PlainNetwork(nn.Module):
    """The same architecture, plainly."""

    def __init__(self, unbound: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, CHANNELS, 7, padding=3)
        mask = torch.ones_like(self.first.weight)
        mask[:, :, 3, 3:] = 0
        mask[:, :, 4:] = 0
        self.register_buffer("mask", mask)
        self.from_left, self.from_right = PlainLSTM(unbound), PlainLSTM(unbound)
        self.mix = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.last = nn.Conv2d(CHANNELS, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) -> logits of the same shape."""
        self.first.weight.data *= self.mask
        x = self.first(image)
        from_right = self.from_right(x.flip(3)).flip(3)
        h = x + self.from_left(x) + F.pad(from_right, (0, 0, 1, -1))
        return self.last(F.relu(self.mix(F.relu(h))))  # type: ignore[no-any-return]


def plain(images: Tensor, batch: int, n_steps: int, unbound: bool) -> float:
    """Images per second of the plain program."""
    torch.manual_seed(0)
    network = PlainNetwork(unbound)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    batches: Any = iter(DataLoader(TensorDataset(images), batch, shuffle=True))
    for step in range(n_steps + 1):
        if step == 1:
            began = time.perf_counter()
        (x,) = next(batches)
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(x), x, reduction="sum") / batch
        loss.backward()
        optimizer.step()
        loss.item()
    return n_steps * batch / (time.perf_counter() - began)


def ours(images: Tensor, batch: int, n_steps: int) -> float:
    """Images per second of the same work as the trainer does it."""
    torch.manual_seed(0)
    model = PixelRNN(PixelRNNConfig(channels=CHANNELS), DATA)
    resident = images.to(torch.uint8)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0, fused=True)
    order = torch.randperm(len(images))
    for step in range(n_steps + 1):
        if step == 1:
            began = time.perf_counter()
        x = resident[order[step * batch : (step + 1) * batch]].float()
        loss = model.loss(Batch(x), Step()).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return n_steps * batch / (time.perf_counter() - began)


def multiply_adds() -> float:
    """Of a step, per image: three products with every weight at every pixel."""
    stack = PixelRNN(PixelRNNConfig(channels=CHANNELS), DATA).stack
    parts = (*stack.layers.parameters(), stack.mix.weight, stack.last.weight)
    weights = int(stack.first.mask.sum()) + sum(p.numel() for p in parts if p.dim() > 1)
    return 3.0 * DATA.n_pixels * weights


def main() -> None:
    """Measure both, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--loop", choices=["indexed", "unbound"], default="indexed")
    arguments = parser.parse_args()
    batch, steps = arguments.batch, arguments.steps
    images = (torch.rand(batch * (steps + 1), 1, 28, 28) < 0.2).float()
    rates = alternate(
        lambda: ours(images, batch, steps),
        lambda: plain(images, batch, steps, arguments.loop == "unbound"),
        arguments.pairs,
    )
    report(
        f"pixelrnn training, batch {batch}, {arguments.loop} loop", *rates, unit="images/s",
        multiply_adds=multiply_adds(), rate=matmul_rate(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
