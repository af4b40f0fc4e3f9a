"""Training on colour pictures of 32 pixels: gencli against plain programs of the same networks.

    python benchmarks/colour_training.py --model ddpm [--pairs 3] [--steps 10] [--precision bf16]
    python benchmarks/colour_training.py --model dcgan

The plain programs are what a user would write: torchvision's ImageFolder with ToTensor, a
DataLoader in the same process, fp32, Adam, and `loss.item()` in each step; the averaged weights of
the U-Net go parameter by parameter, and the discriminator sees real and made images in passes of
their own. Each runs in a process of its own, in alternation, over the same folder of 2,000 JPEG
files, which is made first. Reading is no part of gencli's rate, and is of the plain programs'.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from common import alternate, child, gencli_train, report
from dcgan_training import play
from mapped_data import make_folder
from torch import Tensor, nn

SIZE, IMAGES = 32, 2_000
WIDTHS = (16, 48, 96)  # of the U-Net, gencli's default
BATCHES = {"ddpm": 16, "dcgan": 128}
LATENT = 64


class Block(nn.Module):
    """A residual block that is told the time."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(n_in), norm(n_out)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.told = nn.Linear(4 * WIDTHS[0], 2 * n_out)
        self.skip = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, n_in, H, W) -> (B, n_out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.told(time)[:, :, None, None].chunk(2, 1)
        return self.skip(x) + self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))


class Attention(nn.Module):
    """Residual self-attention over the places of a map."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.norm, self.read = norm(n), nn.MultiheadAttention(n, n // 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, H, W) -> the same."""
        places = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.read(places, places, places)[0].transpose(1, 2).reshape(x.shape)


class UNet(nn.Module):
    """The U-Net of `ddpm`, written out for three resolutions."""

    def __init__(self) -> None:
        super().__init__()
        n0, n1, n2 = WIDTHS
        self.time = nn.Sequential(nn.Linear(64, 4 * n0), nn.SiLU(), nn.Linear(4 * n0, 4 * n0))
        self.stem = nn.Conv2d(3, n0, 3, padding=1)
        self.down = nn.ModuleList([Block(n0, n0), Block(n0, n1), Block(n1, n2)])
        self.halve = nn.ModuleList(
            [nn.Conv2d(n0, n0, 3, 2, 1), nn.Conv2d(n1, n1, 3, 2, 1)]
        )  # fmt: skip
        self.middle = nn.ModuleList([Block(n2, n2), Block(n2, n2)])
        self.attention = Attention(n2)
        self.up = nn.ModuleList([Block(2 * n2, n2), Block(n2 + n1, n1), Block(n1 + n0, n0)])
        self.head = nn.Sequential(norm(n0), nn.SiLU(), nn.Conv2d(n0, 3, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Noisy images (B, 3, 32, 32) and times (B,) -> what is told of them."""
        angles = t[:, None] * torch.exp(-math.log(1e4) / 32 * torch.arange(32))
        time = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], 1)))
        h, skips = self.stem(x), []
        for level, block in enumerate(self.down):
            if level:
                h = self.halve[level - 1](h)
            h = block(h, time)
            skips.append(h)
        h = self.middle[1](self.attention(self.middle[0](h, time)), time)
        for level, block in enumerate(self.up):
            if level:
                h = F.interpolate(h, scale_factor=2)
            h = block(torch.cat([h, skips.pop()], 1), time)
        out: Tensor = self.head(h)
        return out


def norm(n: int) -> nn.GroupNorm:
    """Groups of 16 channels."""
    return nn.GroupNorm(n // 16, n)


def batches(folder: str, size: int, steps: int) -> Iterator[Tensor]:
    """Images (B, 3, 32, 32) in [0, 1], as often as it takes."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    images = datasets.ImageFolder(folder, transforms.ToTensor())
    loader = DataLoader(images, batch_size=size, shuffle=True, drop_last=True)
    done = 0
    while True:
        for x, _ in loader:
            if done == steps:
                return
            done += 1
            yield x


def plain_ddpm(folder: str, steps: int) -> None:
    """The textbook's loop of a diffusion model that tells the noise."""
    network = UNet()
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    kept = torch.cos(torch.linspace(0, 1, 1000) * math.pi / 2).square().clamp_min(1e-4)
    losses = 0.0
    for x in batches(folder, BATCHES["ddpm"], steps):
        t = torch.randint(0, 1000, (len(x),))
        noise, alpha = torch.randn_like(x), kept[t][:, None, None, None]
        told = network(alpha.sqrt() * (2 * x - 1) + (1 - alpha).sqrt() * noise, t.float())
        loss = F.mse_loss(told, noise)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, now in zip(average.parameters(), network.parameters(), strict=True):
                mean.mul_(0.999).add_(now, alpha=0.001)
        losses += loss.item()


def plain_dcgan(folder: str, steps: int) -> None:
    """The textbook's loop of a DCGAN."""
    up: list[nn.Module] = [nn.Linear(LATENT, 4 * 4 * 256, bias=False), nn.Unflatten(1, (256, 4, 4))]
    for n_in, n_out in pairwise((256, 128, 64, 3)):
        up += [nn.BatchNorm2d(n_in), nn.ReLU(), nn.ConvTranspose2d(n_in, n_out, 4, 2, 1)]
    down: list[nn.Module] = []
    for n_in, n_out in pairwise((3, 64, 128, 256)):
        down += [nn.Conv2d(n_in, n_out, 4, 2, 1)]
        down += [nn.BatchNorm2d(n_out)] if n_in > 3 else []
        down += [nn.LeakyReLU(0.2)]
    generator = nn.Sequential(*up, nn.Sigmoid())
    discriminator = nn.Sequential(*down, nn.Flatten(), nn.Linear(4 * 4 * 256, 1))
    play(generator, discriminator, batches(folder, BATCHES["dcgan"], steps))


PLAIN: dict[str, Callable[[str, int], None]] = {"ddpm": plain_ddpm, "dcgan": plain_dcgan}
OURS = {
    "ddpm": (),
    "dcgan": ("--width", "256", "--d-width", "64", "--hidden", "0", "--latent-dim", str(LATENT)),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ddpm", choices=list(PLAIN))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--plain", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        import torchvision  # noqa: F401 - so that its import is not timed

        began = time.perf_counter()
        PLAIN[args.model](args.plain, args.steps)
        print(BATCHES[args.model] * args.steps / (time.perf_counter() - began))
        return
    steps = str(args.steps)
    with tempfile.TemporaryDirectory() as name:
        make_folder(Path(name), IMAGES, SIZE)
        rates = alternate(
            lambda: gencli_train(
                *(args.model, "--data", name, "--image-size", str(SIZE), "--sample-every", "0"),
                *("--batch-size", str(BATCHES[args.model]), "--val", "0", "--steps", steps),
                *("--precision", args.precision, *OURS[args.model]),
            ),
            lambda: child(__file__, "--model", args.model, "--plain", name, "--steps", steps),
            args.pairs,
        )
    report(f"{args.model}, colour, {args.precision}", *rates, unit="images/s")


if __name__ == "__main__":
    main()
