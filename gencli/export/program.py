"""What is exported: a model's decoder as a graph, from latents and conditions to images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from gencli.data.conditions import Condition, in_turn
from gencli.errors import GencliError, UsageError
from gencli.models.abilities import HasLatent
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator

TOLERANCE = 1e-4
BATCH_SIZES = (1, 3, 16)


@dataclass(frozen=True)
class Parity:
    """How near an exported decoder comes to the original, over `n` images with pixels in [0, 1]."""

    max_abs_difference: float
    n: int
    tolerance: float = TOLERANCE


class Decoder(nn.Module):
    """`decode` of a copy of a model: evaluation mode, fp32, contiguous, on the CPU.

    Its inputs are latents and, for each kind of condition that the model takes, a tensor.

    Raises:
        UsageError: If the model has no latent space.
    """

    def __init__(self, model: GenerativeModel) -> None:
        super().__init__()
        if not isinstance(model, HasLatent):
            raise UsageError(
                f"{type(model).__name__} has no decoder to export: it has no latent space.",
                "Every model can export its weights: --format weights.",
            )
        self.model = copy.deepcopy(model).cpu().float().eval()
        self.model.to(memory_format=torch.contiguous_format)

    @property
    def input_names(self) -> list[str]:
        """`latents`, then the kinds of conditions."""
        return ["latents", *self.model.conditions]

    def forward(self, latents: Tensor, *told: Tensor) -> Tensor:
        """(n, ...), and conditions of n images -> (n, C, H, W) in [0, 1]."""
        condition = Condition(**dict(zip(self.model.conditions, told, strict=True)))
        return self.model.decode(latents, condition)

    def inputs(self, n: int, seed: int) -> tuple[Tensor, ...]:
        """Latents (n, ...) from the prior, fp32, and conditions of nothing in particular."""
        latents = self.model.sample_latent(n, generator=ImageGenerator(seed, range(n))).float()
        told = in_turn(self.model.data, self.model.conditions, n)
        return latents, *(getattr(told, kind) for kind in self.model.conditions)


def batch_dimension(decoder: Decoder) -> Any:
    """The free size of the first dimension of all inputs."""
    n = Dim("n", min=1)
    latents, *told = ({0: n} for _ in decoder.input_names)
    return (latents, tuple(told)) if told else (latents,)


def trace(decoder: Decoder, seed: int) -> ExportedProgram:
    """The decoder as a graph for any batch size, without the weights that decoding leaves alone."""
    with torch.no_grad():
        program = torch.export.export(
            decoder, decoder.inputs(2, seed), dynamic_shapes=batch_dimension(decoder), strict=False
        )
    unused = {node.name: node for node in program.graph.nodes if _is_unused(node)}
    signature = program.graph_signature
    for spec in signature.input_specs:
        if spec.arg.name in unused and spec.target is not None:
            program.state_dict.pop(spec.target, None)
    signature.input_specs = [s for s in signature.input_specs if s.arg.name not in unused]
    for node in unused.values():
        program.graph.erase_node(node)
    program.graph_module.recompile()
    _forget_where_it_was_made(program)
    return program


def _forget_where_it_was_made(program: ExportedProgram) -> None:
    """Remove lines of source files, which name folders of this machine and of its user."""
    for module in program.graph_module.modules():  # a graph may have graphs within
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)


def _is_unused(node: torch.fx.Node) -> bool:
    return node.op == "placeholder" and not node.users


def check(decoder: Decoder, exported: Callable[..., Tensor], seed: int) -> Parity:
    """Compare an exported decoder with the original on latents from the prior, several batch sizes.

    Raises:
        GencliError: If a pixel differs by more than `TOLERANCE`, or a shape does.
    """
    worst = 0.0
    with torch.no_grad():
        for n in BATCH_SIZES:
            inputs = decoder.inputs(n, seed)
            ours, theirs = decoder(*inputs), exported(*inputs)
            if ours.shape != theirs.shape:
                raise _unequal(f"{n} images have the shape {tuple(theirs.shape)}")
            difference = (ours - theirs).abs().max().item()
            if not difference <= TOLERANCE:  # so that not-a-number fails too
                raise _unequal(
                    f"a pixel is off by {difference:.2g} (at most {TOLERANCE:g} is allowed)"
                )
            worst = max(worst, difference)
    return Parity(worst, sum(BATCH_SIZES))


def _unequal(how: str) -> GencliError:
    return GencliError(
        f"The exported decoder does not reproduce the model: {how}. Nothing was written.",
        "Upgrade torch, or export --format weights.",
    )
