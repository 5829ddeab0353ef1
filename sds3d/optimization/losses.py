"""The distillation loss and the regularizers of images."""

from __future__ import annotations

from torch import Tensor

from sds3d.config.schema import LossConfig
from sds3d.interfaces import Render
from sds3d.optimization.targets import Target


def distillation_loss(images: Tensor, target: Target) -> Tensor:
    """0.5 sum w (images - target)^2, so d loss / d images = w (images - target); targets.find_target chooses both."""
    return 0.5 * (target.weights * (images - target.images).square()).sum()


def sparsity(alphas: Tensor) -> Tensor:
    """Mean sqrt(alpha^2 + 0.01): less is covered (DreamFusion's regularizer in threestudio's form)."""
    return (alphas.square() + 0.01).sqrt().mean()


def opaque(alphas: Tensor) -> Tensor:
    """Mean binary entropy of alpha in nats: a pixel is either covered or empty."""
    alphas = alphas.clamp(1e-3, 1 - 1e-3)
    return -(alphas * alphas.log() + (1 - alphas) * (1 - alphas).log()).mean()


def regularization(render: Render, cfg: LossConfig) -> Tensor:
    """Weighted sum [] of the regularizers of images that `cfg` switches on; a scene has those of its parameters."""
    total = render.colors.new_zeros(())
    if cfg.sparsity:
        total = total + cfg.sparsity * sparsity(render.alphas)
    if cfg.opaque:
        total = total + cfg.opaque * opaque(render.alphas)
    return total
