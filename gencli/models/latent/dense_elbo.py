r"""The ELBO of a dense VAE and its gradient, written out: one node of autograd's graph.

For networks of rectified dense layers, a posterior N(mu, diag sigma^2), a prior N(0, I) and binary
pixels, whose logits are a. In batches of a hundred images a CPU otherwise spends a tenth of a step
on the many nodes between matrix products. With z = mu + sigma eps and log sigma^2 = v (Kingma and
Welling 2013, arXiv:1312.6114, appendix B), and E the ELBO's reconstruction term,

    dE/da = x - sigmoid(a),    dKL/dmu = mu,    dKL/dv = (sigma^2 - 1) / 2,
    dz/dmu = 1,                dz/dv = sigma eps / 2.

The plain form is `VAE._elbo`, and the gradient is that one's but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gencli.models.softplus import sum_log


def dense_elbo(
    x: Tensor, eps: Tensor, encoder: Sequence[nn.Linear], decoder: Sequence[nn.Linear]
) -> tuple[Tensor, Tensor]:
    """Both terms of the ELBO for a draw of z.

    Args:
        x: (B, D) in [0, 1]; it gets no gradient.
        eps: (B, latent_dim) from N(0, I).
        encoder: Layers with rectified units between them; the last one tells mu and v.
        decoder: Likewise, from z to logits (B, D).

    Returns:
        The log-likelihood and the KL divergence, (B,) nats each. They can be differentiated once.
    """
    layers = [*encoder, *decoder]
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    terms: tuple[Tensor, Tensor] = _DenseELBO.apply(x, eps, len(encoder), *weights, *biases)
    return terms


class _DenseELBO(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, eps: Tensor, n_encoder: int, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        n = len(parameters) // 2
        weights, biases = parameters[:n], parameters[n:]
        inputs = [x]  # of each layer
        for w, b in zip(weights[: n_encoder - 1], biases, strict=False):
            inputs.append(_linear(inputs[-1], w, b).relu_())
        last = n_encoder - 1
        mean, log_var = _linear(inputs[-1], weights[last], biases[last]).chunk(2, -1)
        deviation = torch.exp(0.5 * log_var)
        noise, variance = deviation * eps, deviation.square()
        inputs.append(mean + noise)
        for w, b in zip(weights[n_encoder:-1], biases[n_encoder:], strict=False):
            inputs.append(_linear(inputs[-1], w, b).relu_())
        a = _linear(inputs[-1], weights[-1], biases[-1])
        # As in `bernoulli_log_prob`; sigmoid(|a|) is the larger of sigmoid(a) and 1 - sigmoid(a).
        log_likelihood = (x * a).sub_(a.relu()).sum(-1)
        p = a.sigmoid_()
        larger = 1 - p
        log_likelihood += sum_log(torch.maximum(larger, p, out=larger))
        kl = -0.5 * (1 + log_var - mean.square() - variance).sum(-1)
        ctx.n_encoder = n_encoder
        ctx.save_for_backward(p, mean, noise, variance, *inputs, *weights)
        return log_likelihood, kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_likelihood, of_kl = (g.unsqueeze(-1) for g in grads)
        p, mean, noise, variance, *rest = ctx.saved_tensors
        n = len(rest) // 2
        inputs, weights = rest[:n], rest[n:]
        of_weights, of_biases = list[Tensor](), list[Tensor]()
        g = (inputs[0] - p).mul_(of_likelihood)  # of a layer's output, from the last layer back
        for i in reversed(range(n)):
            of_weights.append(g.t().mm(inputs[i]))
            of_biases.append(g.sum(0))
            if i == 0:
                break
            g = g.mm(weights[i])
            if i == ctx.n_encoder:  # g is the gradient of z
                of_log_var = (g * noise).add_((variance - 1).mul_(of_kl)).mul_(0.5)
                g = torch.cat([g + mean * of_kl, of_log_var], -1)
            else:
                g = torch.ops.aten.threshold_backward(g, inputs[i], 0)
        return None, None, None, *reversed(of_weights), *reversed(of_biases)


def _linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return torch.addmm(b, x, w.t())
