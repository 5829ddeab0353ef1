"""Metrics of pictures of assets: retrieval by text, consistency of views, and defects of shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

SOLID = 0.5  # alpha from which a pixel belongs to the object
MARGIN = 1 / 32  # of the picture's side: how far a soft edge may reach beyond the solid pixels
SPECK = 1e-3  # of the object's pixels: smaller pieces are ignored
TWO_SIDED = 0.05  # mean color difference from which an object has distinct sides
HALF = 0.5  # of that difference: an asset with less has a second face


def ranks(images: Tensor, texts: Tensor, correct: Tensor) -> Tensor:
    """For each image [K], the number of other texts that are at least as near as the `correct` [K] one; long [K].

    `images` [K, D] and `texts` [P, D] are unit vectors; `correct` has rows of `texts`.
    """
    cosines = images @ texts.T
    of_correct = cosines.gather(1, correct[:, None])
    return (cosines >= of_correct).sum(1) - 1


def r_precision(images: Tensor, texts: Tensor, correct: Tensor) -> float:
    """Share of `images` [K, D] whose text `correct` [K] is the nearest of all `texts` [P, D], all unit vectors.

    CLIP R-precision as in Dream Fields (arXiv:2112.01455); its meaning depends on P.
    """
    return (ranks(images, texts, correct) == 0).double().mean().item()


def views_together(embeddings: Tensor) -> Tensor:
    """One unit vector [K, D] for each asset: the direction of the sum of its views' [K, V, D]."""
    return F.normalize(embeddings.sum(1), dim=-1)


@dataclass(frozen=True)
class Consistency:
    """Mean cosines between embedded views of assets: high where views show the same object."""

    adjacent: float  # of one asset, next to each other in its ring
    opposite: float  # of one asset, half a ring apart
    unrelated: float  # of two assets, from the same side

    @property
    def score(self) -> float:
        """0 if adjacent views are as different as unrelated ones, 1 if they are equal; NaN if all views are equal."""
        if self.unrelated >= 1:
            return math.nan
        return (self.adjacent - self.unrelated) / (1 - self.unrelated)


def view_consistency(embeddings: Tensor) -> Consistency:
    """The consistency of K >= 2 assets, from unit vectors [K, V, D] of V views in a ring; V is even.

    Compare with the values of true objects, whose views differ, too.
    """
    assets, views = embeddings.shape[:2]
    adjacent = (embeddings * embeddings.roll(1, 1)).sum(-1).mean()
    opposite = (embeddings * embeddings.roll(views // 2, 1)).sum(-1).mean()
    # |sum of K unit vectors|^2 = K + the cosines of all ordered pairs
    pairs = embeddings.sum(0).square().sum(-1) - assets
    unrelated = pairs.mean() / (assets * (assets - 1))
    return Consistency(adjacent.item(), opposite.item(), unrelated.item())


def haze(alphas: Tensor) -> float:
    """Mean of `alphas` [C, 1, H, W] outside of the object's hull: its solid pixels and MARGIN around them."""
    reach = round(MARGIN * alphas.shape[-1])
    solid = (alphas >= SOLID).to(alphas)
    outside = 1 - F.max_pool2d(solid, 2 * reach + 1, stride=1, padding=reach)
    return ((alphas * outside).sum() / outside.sum().clamp(min=1)).item()


def components(alphas: Tensor) -> int:
    """The largest number of connected components of the solid pixels over views [C, 1, H, W]; 0 if all are empty.

    A connected object has a connected silhouette in every view, so more than one component here means more than one in
    space. Pixels that touch at a corner are connected.
    """
    from scipy import ndimage

    most = 0
    for view in (alphas[:, 0] >= SOLID).cpu().numpy():
        labels, count = ndimage.label(view, structure=[[1, 1, 1]] * 3)
        sizes = ndimage.sum_labels(view, labels, range(1, count + 1))
        most = max(most, int((sizes >= max(1.0, SPECK * view.sum())).sum()))
    return most


def side_difference(front: Tensor, back: Tensor, covered: Tensor) -> float:
    """Mean absolute difference of colors [3, H, W] in [0, 1] where both sides show the object, 0 to 1.

    `covered` [1, H, W] is the product of their alphas; 0 if they have no pixel in common.
    """
    return (((front - back).abs() * covered).sum() / (3 * covered.sum()).clamp(min=1)).item()


def has_second_face(asset: float, true: float) -> bool:
    """Whether the sides of an object differ by `asset`, less than HALF of `true`, the difference that they should have.

    This is a proxy: both are results of `side_difference`, `true` of an object that fits the same text. Objects that
    look the same from both sides, such as balls, cannot have a second face.
    """
    return true >= TWO_SIDED and asset < HALF * true
