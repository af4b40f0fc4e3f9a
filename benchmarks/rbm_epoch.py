"""An epoch of CD-1 against its five matrix products alone, MNIST's size: 500 hidden, batch 100.

    python benchmarks/rbm_epoch.py [--batches 100] [--rounds 7]

A step of CD-1 needs v+ W, h W^T and v- W for the chain, and v^T p for the gradient of each phase.
The two programs take turns; the median of the rounds' ratios is printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from gencli.core.model import Batch
from gencli.data.spec import DataInfo
from gencli.models.rbm import RBM, Config
from gencli.training import optim

N_VISIBLE, N_HIDDEN, BATCH, EPOCH = 784, 500, 100, 600


def cd_epoch(batches: int, optimizer: str, bf16: bool) -> Callable[[], None]:
    """Training steps on resident uint8 images, everything that the trainer does in a step."""
    config = Config(hidden=N_HIDDEN, k=1, persistent=False, optimizer=optimizer)  # type: ignore[arg-type]
    model = RBM(config, DataInfo(1, 28, 28, binarization="static"))
    images = (torch.rand(BATCH * batches, 1, 28, 28) < 0.2).byte()
    (update,) = model.updates()
    assert update.optimizer is not None
    stepper = optim.build(update.optimizer, update.parameters, 1e-3)

    def run() -> None:
        for index in torch.randperm(len(images)).split(BATCH):
            x = images.index_select(0, index).float()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = update.loss(Batch(x, None))
            stepper.zero_grad(set_to_none=True)
            loss.total.backward(inputs=update.parameters)
            stepper.step()

    return run


def products(batches: int, bf16: bool) -> Callable[[], None]:
    """The matrix products of as many steps, and nothing else."""
    kind = torch.bfloat16 if bf16 else torch.float32
    w = torch.randn(N_VISIBLE, N_HIDDEN).to(kind)
    v = (torch.rand(BATCH, N_VISIBLE) < 0.2).to(kind)
    h = (torch.rand(BATCH, N_HIDDEN) < 0.2).to(kind)

    def run() -> None:
        for _ in range(batches):
            v @ w, h @ w.T, v @ w, v.T @ h, v.T @ h

    return run


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each optimizer and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    for bf16 in (False, True):
        for optimizer in ("sgd", "adam"):
            ours = cd_epoch(arguments.batches, optimizer, bf16)
            least = products(arguments.batches, bf16)
            ours(), least()
            rounds = [(seconds(ours), seconds(least)) for _ in range(arguments.rounds)]
            scale = EPOCH / arguments.batches
            epoch, floor = (scale * statistics.median(t) for t in zip(*rounds, strict=True))
            ratio = statistics.median(a / b for a, b in rounds)
            flops = 5 * 2 * BATCH * N_VISIBLE * N_HIDDEN * EPOCH
            print(
                f"{'bf16' if bf16 else 'fp32'} {optimizer}: epoch {epoch:.2f} s, products alone "
                f"{floor:.2f} s ({flops / floor / 1e9:.0f} GFLOP/s), ratio {ratio:.2f}"
            )


if __name__ == "__main__":
    main()
