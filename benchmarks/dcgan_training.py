"""Training a DCGAN on MNIST at batch 256: gencli against the textbook loop.

The generator is a dense layer to 7x7x256 and two 5x5 transposed convolutions of stride 2, the
discriminator three 5x5 convolutions of stride 2 (64, 128 and 256 channels). The plain program uses
torchvision's transforms, a DataLoader, fp32, separate passes over real and made images, and
`loss.item()` in each step. Each runs in a process of its own, in alternation.

    python benchmarks/dcgan_training.py [--pairs 3] [--precision bf16]

MNIST comes from gencli's cache or mirrors; the plain program reads the same files.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from common import alternate, child, gencli_train, matmul_rate, report
from torch import Tensor, nn
from vae_training import TextbookMNIST

BATCH, LATENT = 256, 64
GENERATOR = LATENT * 7 * 7 * 256 + 7 * 7 * 256 * 128 * 25 + 14 * 14 * 128 * 1 * 25
DISCRIMINATOR = 14 * 14 * 64 * 1 * 25 + 7 * 7 * 128 * 64 * 25 + 4 * 4 * 256 * 128 * 25 + 4 * 4 * 256
# D's update: forward and backward on a real and a made image. G's: forward and backward through G,
# forward through D and back to its input.
PER_IMAGE = 2 * 3 * DISCRIMINATOR + 3 * GENERATOR + 2 * DISCRIMINATOR


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    """The textbook's generator and discriminator."""
    generator = nn.Sequential(
        nn.Linear(LATENT, 7 * 7 * 256, bias=False),
        nn.Unflatten(1, (256, 7, 7)),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 128, 5, 2, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 1, 5, 2, 2, 1),
        nn.Sigmoid(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 5, 2, 2, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Conv2d(128, 256, 5, 2, 2, bias=False),
        nn.BatchNorm2d(256),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 256, 1),
    )
    return generator, discriminator


def play(generator: nn.Module, discriminator: nn.Module, batches: Iterable[Tensor]) -> None:
    """The textbook's loop over batches of one size."""
    g_optimizer = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    losses = 0.0
    for x in batches:
        ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        fake = generator(torch.randn(len(x), LATENT))
        d_optimizer.zero_grad()
        d_loss = F.binary_cross_entropy_with_logits(discriminator(x), ones)
        d_loss += F.binary_cross_entropy_with_logits(discriminator(fake.detach()), zeros)
        d_loss.backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        g_loss = F.binary_cross_entropy_with_logits(discriminator(fake), ones)
        g_loss.backward()
        g_optimizer.step()
        losses += d_loss.item() + g_loss.item()


def plain(steps: int) -> float:
    """Images per second of the textbook loop."""
    from torch.utils.data import DataLoader

    loader = DataLoader(TextbookMNIST(), batch_size=BATCH, shuffle=True)
    players, began = networks(), time.perf_counter()
    play(*players, (x for x, _ in islice(loader, steps)))
    return min(steps, len(loader)) * BATCH / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        print(plain(arguments.steps))
        return
    steps = str(arguments.steps)
    ours, theirs = alternate(
        lambda: gencli_train(
            *("dcgan", "--data", "mnist", "--width", "256", "--d-width", "64", "--kernel", "5"),
            *("--hidden", "0", "--sample-every", "0"),
            *("--batch-size", str(BATCH), "--val", "0", "--steps", steps),
            *("--precision", arguments.precision),
        ),
        lambda: child(__file__, "--plain", "--steps", steps),
        arguments.pairs,
    )
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    report(
        f"dcgan {arguments.precision}", ours, theirs, unit="images/s",
        multiply_adds=PER_IMAGE, rate=matmul_rate(dtype),
    )  # fmt: skip


if __name__ == "__main__":
    main()
