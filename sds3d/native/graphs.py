"""Records functions on a GPU as CUDA graphs: many small launches become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sds3d.native.gc_pause import no_collection


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream | None = None) -> Iterator[None]:
    """Records launches inside in `graph`; no garbage collection, since freeing an old graph would spoil this one."""
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

    What it launches must depend on shapes alone, never on values; gradients stay inside. Its random numbers
    must come from `generator`, whose state at the time of a call counts, as without a recording. Inside another
    captured call the function runs directly and becomes part of that recording.
    """

    _recording = False  # whether a captured call is warming up or recording

    def __init__(
        self, function: Callable[..., Tensor | tuple[Tensor, ...]], generator: Generator | None = None
    ) -> None:
        self.function = function
        self.generator = generator
        self.captures: dict[tuple, _Capture] = {}

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The result of `function`, in new memory."""
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
        """Calls `function` once on a side stream, as libraries initialize at first use, then records a second call."""
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
            torch.cuda.empty_cache()  # the graph allocates from its own pool
            with recording(graph, stream):
                output = self.function(*buffers)
        finally:
            CapturedCall._recording = False
        if self.generator and state is not None:
            self.generator.set_state(state)
        return _Capture(graph, buffers, output)
