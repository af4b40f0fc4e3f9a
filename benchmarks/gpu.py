"""Training steps on a GPU: images per second, share of the device's peak, launches in a step.

    python benchmarks/gpu.py [--models vae dcgan pixelcnn ddpm transformer] [--steps 50]
        [--batch-size 512] [--precision auto] [--compile] [--device auto]

Each model of default settings trains on `glyphs` held on the device. The peak is the rate at which
the device multiplies two large matrices in the same precision; of a model's work its products and
convolutions are counted, forwards and backwards. Launches are kernels that the device ran in a
step; waits are points of it where the host waited for the device, of which there should be none.
Without a GPU the same is measured on the CPU, whose launches are operators, to see that it works.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from common import matmul_rate
from torch.profiler import DeviceType, ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from gencli import registry
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.order import Order
from gencli.data.store import ResidentStore
from gencli.device import choose_device, choose_precision
from gencli.models.build import make
from gencli.training.metrics import Window
from gencli.training.settings import resolve
from gencli.training.steps import Steps

MODELS = ("vae", "dcgan", "pixelcnn", "ddpm", "transformer")
WARM_UP = 5  # steps; compiling and choosing algorithms are in them


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device)
    is_gpu = device.type == "cuda"
    print(torch.cuda.get_device_name(device) if is_gpu else "no GPU: measured on the CPU")
    peaks: dict[str, float] = {}
    for name in args.models:
        steps, precision = steps_of(name, args, device)
        if precision not in peaks:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            peaks[precision] = 2 * matmul_rate(dtype, n=8192 if is_gpu else 1024, device=device)
        measured(name, steps, args.steps, peaks[precision], precision, device)


def steps_of(name: str, args: argparse.Namespace, device: torch.device) -> tuple[Steps, str]:
    """The steps of a model's first stage, and their precision."""
    spec = registry.find(name)
    options = spec.options()()
    data = load(DataOptions("glyphs", binarize=options.training.binarize))
    torch.manual_seed(0)
    model = make(spec, options, data.info).to(device)
    if args.compile:
        model.compile_networks()
    settings = resolve({"batch_size": args.batch_size, "steps": args.steps}, options.training)
    precision = choose_precision(args.precision, device, model_allows=model.bf16)
    store = ResidentStore(data.train, data.info, device, model.conditions)
    order = Order(len(store), args.batch_size, 0, device)
    stage = model.stages()[0]
    return Steps(model, stage, store, order, settings, precision=precision, total=None), precision


def measured(
    name: str, steps: Steps, n: int, peak: float, precision: str, device: torch.device
) -> None:
    """Take `n` steps after some to warm up, and print what they cost."""
    window = Window()
    for number in range(WARM_UP):
        steps.take(number, window)
    with FlopCounterMode(display=False) as counter:
        steps.take(WARM_UP, window)
    launches = launched(steps, window, device)
    with waits_told(device) as waits:
        steps.take(WARM_UP + 2, window)
    finished(device)
    began = time.perf_counter()
    images = sum(steps.take(WARM_UP + 3 + number, window) for number in range(n))
    finished(device)
    seconds = time.perf_counter() - began
    n_waits = sum("synchronizing" in str(told.message) for told in waits)
    share = counter.get_total_flops() * n / seconds / peak
    kind = "launches" if device.type == "cuda" else "operators"
    print(
        f"{name}: {images / seconds:,.0f} images/s, {share:.0%} of {peak / 1e12:.3g} TFLOP/s in "
        f"{precision}, {launches:,} {kind} and {n_waits} waits in a step",
        flush=True,
    )


def launched(steps: Steps, window: Window, device: torch.device) -> int:
    """Kernels that a step runs; on the CPU the operators that it calls."""
    gpu = device.type == "cuda"
    activity = ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        steps.take(WARM_UP + 1, window)
        finished(device)
    kind = DeviceType.CUDA if gpu else DeviceType.CPU
    events = (e for e in profiled.events() or () if e.device_type == kind)
    return sum(1 for event in events if gpu or event.name.startswith("aten::"))


@contextmanager
def waits_told(device: torch.device) -> Iterator[list[warnings.WarningMessage]]:
    """Within the block, note where the host waits for a GPU; a CPU is never waited for."""
    if device.type != "cuda":
        yield []
        return
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield told
        finally:
            torch.cuda.set_sync_debug_mode("default")


def finished(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
