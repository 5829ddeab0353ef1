"""Functions on a GPU recorded as CUDA graphs: many small launches become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sds3d.native.gc_pause import no_collection


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream | None = None) -> Iterator[None]:
    """Launches inside are recorded in `graph`; no garbage is collected, for an old graph in it would spoil this one."""
    with no_collection(), torch.cuda.graph(graph, stream=stream):
        yield


@dataclass(frozen=True)
class _Capture:
    """A graph that reads `inputs` and writes `output`, always the same memory."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor | tuple[Tensor, ...]


class CapturedCall:
    """`function` of CUDA tensors, recorded once for each combination of input shapes and then replayed.

    What it launches must depend on shapes alone, never on values; gradients stay inside. What it draws must come from
    `generator`, whose state at the time of a call then counts, as without a recording. Inside another captured call
    the function is called as it is and becomes part of that recording.
    """

    _recording = False  # some captured call warms up or records

    def __init__(
        self, function: Callable[..., Tensor | tuple[Tensor, ...]], generator: Generator | None = None
    ) -> None:
        self.function = function
        self.generator = generator
        self.captures: dict[tuple, _Capture] = {}

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What `function` returns, in memory of its own."""
        if CapturedCall._recording:
            return self.function(*inputs)
        key = tuple((x.shape, x.stride(), x.dtype) for x in inputs)
        if key not in self.captures:
            self.captures[key] = self._capture(inputs)
        capture = self.captures[key]
        for buffer, value in zip(capture.inputs, inputs, strict=True):
            buffer.copy_(value)
        capture.graph.replay()
        if isinstance(capture.output, Tensor):
            return capture.output.clone()
        return tuple(x.clone() for x in capture.output)

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Capture:
        """One call on a stream of its own, that libraries set up what they set up at first use, and one recorded."""
        buffers = [x.clone() for x in inputs]
        state = self.generator.get_state() if self.generator else None
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        if self.generator:
            graph.register_generator_state(self.generator)
        CapturedCall._recording = True
        try:
            with torch.cuda.stream(stream):
                self.function(*buffers)
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.empty_cache()  # the graph has memory of its own
            with recording(graph, stream):
                output = self.function(*buffers)
        finally:
            CapturedCall._recording = False
        if self.generator:
            self.generator.set_state(state)
        return _Capture(graph, buffers, output)
