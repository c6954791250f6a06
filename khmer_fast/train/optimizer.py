"""What moves the weights: AdamW, or Muon for matrices and convolutions and AdamW for all else.

Muon is of Jordan et al. 2024 ("Muon: an optimizer for hidden layers"), the scale of its step, by
which both take the same learning rate, of Liu et al. 2025 ("Muon is scalable for LLM training").
A matrix moves by its momentum with all singular values brought near 1: rare directions, in which
rare letters are told apart, move as far as common ones. Each gate of a GRU is a matrix by itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from khmer_fast.train.options import TrainOptions

BETAS = (0.9, 0.98)  # of AdamW
MOMENTUM = 0.95
STEP_RMS = 0.2  # of a matrix's step at a rate of 1, near what AdamW's is
ITERATIONS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)  # of Newton and Schulz, towards singular values of 0.7 to 1.2
_GATES = ("weight_ih_l0", "weight_hh_l0", "W_ih", "W_hh")  # three matrices of a GRU, one on another
_ENDS = ("embedding", "W_o", "ctc.weight")  # rows are tokens, most of them rare in a batch


def find_amp(choice: str, device: torch.device) -> torch.dtype | None:
    """The dtype of convolutions and of Muon's products: bfloat16 where it is faster, else None."""
    if choice == "off":
        return None
    if choice == "bfloat16" or device.type != "cpu":
        return torch.bfloat16
    from khmer_fast.recognize.engine import has_fast_bfloat16

    return torch.bfloat16 if has_fast_bfloat16() else None


def make_optimizer(
    model: nn.Module, options: TrainOptions, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW, or Muon for the matrices; gains, biases, norms and `v` are not decayed."""
    named = list(model.named_parameters())
    parts = {
        name: 0 if options.optimizer == "adamw" else matrix_parts(name, p) for name, p in named
    }
    matrices = [(p, parts[name]) for name, p in named if parts[name]]
    decayed = [p for name, p in named if p.ndim > 1 and not parts[name]]
    others = [p for name, p in named if p.ndim <= 1]
    decay = options.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if not matrices:
        return torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS, fused=True)
    tensors, counts = zip(*matrices, strict=True)
    groups.append({"params": tensors, "matrices": counts, "weight_decay": decay})
    low = find_amp(options.amp, device) if options.dtype == "float32" else None
    dtype = low or getattr(torch, options.dtype)
    return Muon(groups, dtype, lr=options.learning_rate, betas=BETAS, fused=True)


class Muon(torch.optim.AdamW):
    """AdamW, but for groups with `matrices`: in how many parts each of their parameters falls.

    `dtype` is that of the products: bfloat16 where the processor is faster in it.
    """

    def __init__(self, groups: list[dict[str, Any]], dtype: torch.dtype, **options: Any):
        super().__init__(groups, **options)
        self.dtype = dtype

    def __setstate__(self, state: dict[str, Any]) -> None:
        torch.optim.Optimizer.__setstate__(self, state)  # AdamW's looks for a `step` everywhere

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        groups = self.param_groups
        for group in groups:
            for p, parts in zip(group["params"], group.get("matrices", ()), strict=False):
                if p.grad is not None:
                    self._move(p, p.grad, parts, group["lr"], group["weight_decay"])
        self.param_groups = [group for group in groups if "matrices" not in group]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _move(self, p: Tensor, gradient: Tensor, parts: int, rate: float, decay: float) -> None:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = torch.lerp(gradient, momentum, MOMENTUM)  # Nesterov's
        matrices = ahead.reshape(parts, p.shape[0] // parts, -1)
        step = orthogonal(matrices.to(self.dtype)).to(p.dtype)
        scale = STEP_RMS * max(matrices.shape[1:]) ** 0.5
        p.mul_(1 - rate * decay).add_(step.view_as(p), alpha=-rate * scale)


def orthogonal(x: Tensor) -> Tensor:  # [..., rows, columns] to the same
    """Matrices with the same singular vectors, and singular values of about 1."""
    a, b, c = _QUINTIC
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return x if wide else x.mT


def matrix_parts(name: str, p: nn.Parameter) -> int:
    """How many matrices a parameter is for Muon; 0 of what AdamW moves."""
    if p.ndim < 2 or p[0].numel() == 1 or p.ndim == 4 and p.shape[1] == 1:  # depthwise, too
        return 0
    if name.endswith(_ENDS):
        return 0
    return 3 if name.endswith(_GATES) else 1
