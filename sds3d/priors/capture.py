"""Thousands of small kernel launches replayed as one: CUDA graphs for functions of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Capture:
    """A graph that reads `inputs` and writes `output`, always the same memory."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor


class CapturedCall:
    """`function` of CUDA tensors, recorded once for each combination of input shapes and then replayed.

    What it launches must depend on shapes alone, never on values, and need no gradient.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.captures: dict[tuple, _Capture] = {}

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Tensor:
        """What `function` returns, in memory of its own."""
        key = tuple((x.shape, x.stride(), x.dtype) for x in inputs)
        if key not in self.captures:
            self.captures[key] = self._capture(inputs)
        capture = self.captures[key]
        for buffer, value in zip(capture.inputs, inputs, strict=True):
            buffer.copy_(value)
        capture.graph.replay()
        return capture.output.clone()

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Capture:
        """One call on a stream of its own, that libraries set up what they set up at first use, and one recorded."""
        buffers = [x.clone() for x in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.function(*buffers)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            output = self.function(*buffers)
        return _Capture(graph, buffers, output)
