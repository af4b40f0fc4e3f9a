"""Several processes of one command, by torch.distributed: gloo between CPUs, NCCL between GPUs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from gencli.device import choose_device
from gencli.errors import LostProcess, UsageError
from gencli.place import Place
from gencli.processes import PREFIX, Processes

T = TypeVar("T")

BUCKET = 16 << 20
"""Numbers in one message, at most."""

PATIENCE = datetime.timedelta(hours=1)
"""With a process that lives and is silent: the first may be fetching data or drawing a preview."""


@contextmanager
def joined(place: Place) -> Iterator[Processes]:
    """The processes of this command, all of which come here, for a while.

    Raises:
        LostProcess: If they do not come together.
    """
    if place.world == 1:
        yield Processes()
        return
    gpus = torch.cuda.is_available()
    if gpus and place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place.local_rank)
    with _calling():
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=_store(place), rank=place.rank, world_size=place.world, timeout=PATIENCE,
        )  # fmt: skip
    try:
        yield Several(place)
    finally:
        with suppress(RuntimeError):  # of others that are gone
            dist.destroy_process_group()


def _store(place: Place) -> Store:
    """Where the processes find one another.

    torchrun starts all of them again beside the store that they had, and in it are the addresses of
    those that died: who reads one before it is written anew waits for a process that is no more.
    So each attempt has names of its own. Agents of several machines may count attempts differently;
    there it stays as torch has it.
    """
    store: Store = next(rendezvous("env://", timeout=PATIENCE))[0]
    store.set_timeout(PATIENCE)
    together = place.local_world == place.world
    return PrefixStore(f"attempt {place.attempt}", store) if together else store


@contextmanager
def _calling() -> Iterator[None]:
    """Where another process is gone, torch says so at great length."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise LostProcess(
            "Another of the processes has ended.",
            "Look for its own message above; a training goes on with --resume.",
        ) from error


class Several(Processes):
    """More processes than one, which all make the same calls in the same order.

    Args:
        place: This one's.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.rank, self.world = place.rank, place.world

    def device(self, name: str) -> torch.device:
        """A GPU of its own, or the CPU.

        Raises:
            UsageError: If there are too few, or one is asked for by its number.
        """
        kind, numbered, _ = name.partition(":")
        if kind == "mps" or numbered:
            raise UsageError(
                f"{self.world} processes cannot share the device {name}.",
                "Use --device auto, cpu or cuda: each process takes a GPU of its own.",
            )
        device, here = choose_device(name), self._place.local_world
        if device.type == "cuda" and here > torch.cuda.device_count():
            raise UsageError(
                f"{here} processes need as many GPUs, and there are {torch.cuda.device_count()}.",
                "Start fewer (--nproc-per-node), or use --device cpu.",
            )
        return torch.device("cpu") if device.type == "mps" else device

    def add(self, tensors: Sequence[Tensor]) -> None:
        """In few large messages."""
        _by_bucket(tensors, dist.all_reduce)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Their sum, divided."""
        if tensors:
            self.add(tensors)
            torch._foreach_div_(list(tensors), self.world)

    def add_gradients(self, parameters: Sequence[nn.Parameter], figures: Sequence[Tensor]) -> None:
        """All gradients and figures together; a number for each parameter says if it has one."""
        there = torch.tensor([float(p.grad is not None) for p in parameters])
        there = there.to(parameters[0].device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        self.add([*gradients, there, *figures])
        for p, gradient, n in zip(parameters, gradients, there.tolist(), strict=True):
            p.grad = gradient if n else None

    @contextmanager
    def adding(self, sums: Sequence[Tensor]) -> Iterator[None]:
        """Each process's block adds to zero."""
        if not sums:
            yield
            return
        before = [t.clone() for t in sums]
        torch._foreach_zero_(list(sums))
        yield
        self.add(sums)
        torch._foreach_add_(list(sums), before)

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """The first sends, the others receive."""
        plain = [t.view(torch.uint8) if t.dtype == torch.bool else t for t in tensors]
        _by_bucket(plain, lambda flat: dist.broadcast(flat, 0))

    def largest(self, *numbers: int) -> tuple[int, ...]:
        """Between CPUs: no GPU is waited for."""
        told = torch.tensor(numbers)
        with _calling():
            dist.all_reduce(told, dist.ReduceOp.MAX)
        return tuple(told.tolist())

    def told(self, find: Callable[[], Any]) -> Any:
        """As JSON."""
        return json.loads(self._sent(lambda: json.dumps(find()).encode()))

    def tensors(self, find: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """As safetensors."""
        return from_bytes(self._sent(lambda: to_bytes(find())))

    def _sent(self, find: Callable[[], bytes]) -> bytes:
        data = find() if self.rank == 0 else b""
        (size,) = self.largest(len(data))
        message = torch.zeros(size, dtype=torch.uint8)
        if self.rank == 0:
            message = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        with _calling():
            dist.broadcast(message, 0)
        return message.numpy().tobytes()

    def exchanged(self, own: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Each sends its own in turn."""
        found = [own.new_empty(size, *own.shape[1:]) for size in sizes]
        found[self.rank] = own.contiguous()
        for rank, tensor in enumerate(found):
            if tensor.numel():
                with _calling():
                    dist.broadcast(tensor, rank)
        return found

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each tensor's bytes, by way of the CPU."""
        found = dict(own)
        for name, tensor in own.items():
            mine = tensor.detach().cpu().contiguous()
            flat = mine.view(-1).view(torch.uint8)
            theirs = [torch.empty_like(flat) for _ in range(self.world)] if self.rank == 0 else None
            with _calling():
                dist.gather(flat, theirs)
            for rank, data in enumerate(theirs or ()):
                if rank:
                    found[f"{PREFIX}{rank}/{name}"] = data.view(mine.dtype).view(mine.shape)
        return found

    def in_turn(self, work: Callable[[], T]) -> T:
        """The others wait for the first of their machine, and all for all."""
        first = self._place.local_rank == 0
        done = [work()] if first else []
        self.largest(0)
        done += [] if first else [work()]
        self.largest(0)
        return done[0]


def _by_bucket(tensors: Iterable[Tensor], send: Callable[[Tensor], object]) -> None:
    """Call `send`, which works in place, for tensors in few large vectors."""
    for bucket in _buckets(tensors):
        flat = torch.cat([t.detach().reshape(-1) for t in bucket])
        with _calling():
            send(flat)
        with torch.no_grad():
            for t, part in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                t.copy_(part.view(t.shape))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type and device together, up to `BUCKET` numbers unless one has more."""
    there: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for t in tensors:
        bucket = there.setdefault((t.dtype, t.device), [])
        if bucket and sum(other.numel() for other in bucket) + t.numel() > BUCKET:
            yield bucket
            bucket = there[t.dtype, t.device] = []
        if t.numel():
            bucket.append(t)
    yield from filter(None, there.values())
