"""Training a VAE (784-512-256-2, batch 100) on MNIST: gencli against the textbook loop.

The plain program is what a user would write: torchvision's MNIST, ToTensor, a DataLoader, Adam, and
`loss.item()` in each step. Both train the same architecture for the same number of steps, each in a
process of its own, in alternation.

    python benchmarks/vae_training.py [--pairs 5] [--precision fp32]

MNIST comes from gencli's cache or mirrors; the plain program reads the same files.
"""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from common import alternate, child, gencli_train, matmul_rate, report
from torch import Tensor, nn

WIDTHS = (784, 512, 256)
LATENT, BATCH = 2, 100
FORWARD = 784 * 512 + 512 * 256 + 256 * 2 * LATENT + LATENT * 256 + 256 * 512 + 512 * 784


class PlainVAE(nn.Module):
    """The textbook's VAE."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 512), nn.Linear(512, 256)
        self.mu, self.log_var = nn.Linear(256, LATENT), nn.Linear(256, LATENT)
        self.fc4, self.fc5 = nn.Linear(LATENT, 256), nn.Linear(256, 512)
        self.fc6 = nn.Linear(512, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and log variance."""
        h = F.relu(self.fc2(F.relu(self.fc1(x))))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return torch.sigmoid(self.fc6(F.relu(self.fc5(F.relu(self.fc4(z)))))), mu, log_var


class TextbookMNIST:
    """What torchvision.datasets.MNIST with ToTensor does for each image, from gencli's files."""

    def __init__(self) -> None:
        from torchvision import transforms

        from gencli.data.load import load
        from gencli.data.options import DataOptions

        self.pixels = load(DataOptions("mnist", val=0)).train.images[:, 0]
        self.transform = transforms.ToTensor()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from torchvision.transforms.functional import to_pil_image

        return self.transform(to_pil_image(self.pixels[index].numpy(), mode="L")), 0


def plain(steps: int) -> float:
    """Images per second of the textbook loop."""
    from torch.utils.data import DataLoader

    loader = DataLoader(TextbookMNIST(), batch_size=BATCH, shuffle=True)
    model = PlainVAE()
    optimizer = torch.optim.Adam(model.parameters())
    total, began, done = 0.0, time.perf_counter(), 0
    for x, _ in loader:
        optimizer.zero_grad()
        out, mu, log_var = model(x.view(-1, 784))
        bce = F.binary_cross_entropy(out, x.view(-1, 784), reduction="sum")
        loss = bce - 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
        loss.backward()
        total += loss.item()
        optimizer.step()
        done += 1
        if done == steps:
            break
    return done * BATCH / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        print(plain(arguments.steps))
        return
    steps = str(arguments.steps)
    ours, theirs = alternate(
        lambda: gencli_train(
            *("vae", "--data", "mnist", "--latent-dim", "2", "--batch-size", str(BATCH)),
            *("--val", "0", "--steps", steps, "--precision", arguments.precision),
        ),
        lambda: child(__file__, "--plain", "--steps", steps),
        arguments.pairs,
    )
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    report(
        f"vae {arguments.precision}", ours, theirs, unit="images/s",
        multiply_adds=3 * FORWARD, rate=matmul_rate(dtype),
    )  # fmt: skip


if __name__ == "__main__":
    main()
