"""One optimiser step of the pocket network; on a GPU it is recorded once as a CUDA graph and then replayed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sds3d.files import atomic_write
from sds3d.priors.flat import flatten_parameters
from sds3d.priors.pocket import model
from sds3d.priors.pocket.data import Batch, render_latents
from sds3d.priors.pocket.text import TextEncoder

WARM_UP_STEPS = 3  # run one by one before the recording: compilers and libraries settle in them
TEXT_NOISE = 0.2  # standard deviation, of tokens of unit variance: what is meant by near words is to be drawn alike


def v_prediction_loss(
    unet: nn.Module,
    latents: Tensor,
    context: Tensor,
    condition: Tensor,
    alphas_cumprod: Tensor,
    timesteps: Tensor,
    noise: Tensor,
) -> Tensor:
    """Mean squared error of v = sqrt(abar) noise - sqrt(1 - abar) x0 (arXiv:2202.00512, appendix D)."""
    alphas = alphas_cumprod[timesteps][:, None, None, None]
    noisy = alphas.sqrt() * latents + (1 - alphas).sqrt() * noise
    target = alphas.sqrt() * noise - (1 - alphas).sqrt() * latents
    predicted = unet(noisy, timesteps, context, condition)
    return nn.functional.mse_loss(predicted.float(), target)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 300 steps, flat, then a cosine to zero over the last 40 % of the run."""
    cooldown = max(0.0, (step - 0.6 * steps) / (0.4 * steps))
    return peak * min(1.0, (step + 1) / 300) * 0.5 * (1 + math.cos(math.pi * min(1.0, cooldown)))


class Prepared(NamedTuple):
    """The inputs of a step, and when they are there; None if they are."""

    inputs: list[Tensor]
    drawn: torch.cuda.Event | None


class Learner:
    """The network, its running average, the optimiser and the step count: all that a checkpoint holds."""

    def __init__(self, args: argparse.Namespace, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.args, self.device, self.rank, self.world, self.step = args, device, rank, world, 0
        self.on_gpu = device.type == "cuda"
        if self.on_gpu:
            self.stream = torch.cuda.Stream(device, priority=-1)  # the default stream cannot be recorded
            self.drawing = torch.cuda.Stream(device)  # gets what the step leaves idle
            torch.cuda.set_stream(self.stream)
        torch.manual_seed(args.seed)
        torch.backends.cudnn.benchmark = True  # the default convolution algorithms are slow here
        shape = (tuple(args.channels), args.layers, args.normals)
        self.unet = model.build_unet(*shape).to(device)
        if args.init:
            state = model.load_unet(args.init).state_dict()
            adds_normals = args.normals and not model.network_shape(args.init)["normals"]
            self.unet.load_state_dict(model.widened(state) if adds_normals else state)
        self.average = model.build_unet(*shape).to(device).requires_grad_(False)
        self.average.load_state_dict(self.unet.state_dict())
        self.weights, self.average_weights = flatten_parameters(self.unet), flatten_parameters(self.average)
        self.rate = torch.zeros((), device=device)
        self.optimizer = torch.optim.AdamW(
            [self.weights],
            lr=self.rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=self.on_gpu,
            capturable=self.on_gpu,
        )
        self.encoder = TextEncoder(args.text).to(device)
        self.alphas_cumprod = model.cumulative_alphas().to(device)
        self.forward = torch.compile(self.unet) if args.compile else self.unet
        self.inputs: list[Tensor] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warmed_up = 0

    def train(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """One optimiser step for each batch; the loss of this process's share of it, still on the device.

        While a step is taken, the next batch is drawn beside it.
        """
        ready: Prepared | None = None
        for step, batch in enumerate(batches, self.step):
            following = self._prepare(batch, step)
            if ready:
                yield self._take(ready)
            ready = following
        if ready:
            yield self._take(ready)

    def _prepare(self, batch: Batch, step: int) -> Prepared:
        """`_inputs`, on a GPU in a stream of its own."""
        if not self.on_gpu:
            return Prepared(self._inputs(batch.to(self.device), step), None)
        with torch.cuda.stream(self.drawing):
            inputs = self._inputs(batch.to(self.device), step)
            for tensor in inputs:
                tensor.record_stream(self.stream)  # its memory is not given away before the step has read it
            return Prepared(inputs, self.drawing.record_event())

    def _take(self, prepared: Prepared) -> Tensor:
        if prepared.drawn:
            self.stream.wait_event(prepared.drawn)
        loss = self._replay(prepared.inputs) if self.on_gpu else self._gradient(*prepared.inputs)
        self._apply()
        self.step += 1
        return loss

    def _replay(self, inputs: list[Tensor]) -> Tensor:
        """`_gradient` as a CUDA graph: of the tensors of the first call, which later inputs are copied into."""
        self.inputs = self.inputs or [x.clone() for x in inputs]
        torch._foreach_copy_(self.inputs, inputs)
        if self.warmed_up < WARM_UP_STEPS:
            self.warmed_up += 1
            return self._gradient(*self.inputs)
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            # thread_local: the loader's thread pins memory meanwhile
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                self.loss = self._gradient(*self.inputs)
        self.graph.replay()
        return self.loss.clone()

    @torch.no_grad()
    def _inputs(self, batch: Batch, step: int) -> list[Tensor]:
        """Latents, context, camera condition, timesteps and noise of the batch of a step."""
        seed = (self.args.seed * 1_000_003 + step) * 64 + self.rank
        generator = torch.Generator(self.device).manual_seed(seed)
        latents = render_latents(batch, self.args.normals).contiguous(memory_format=torch.channels_last)
        context = self.encoder(batch.ids)
        context = context + TEXT_NOISE * (context != 0) * torch.randn(
            context.shape, generator=generator, device=self.device
        )
        context[:, 1:] *= batch.has_words[:, None, None]
        context = context.repeat_interleave(model.NUM_VIEWS, 0)
        noise = torch.randn(latents.shape, generator=generator, device=self.device)
        return [latents, context, batch.condition, batch.timesteps, noise.contiguous(memory_format=torch.channels_last)]

    def _gradient(
        self, latents: Tensor, context: Tensor, condition: Tensor, timesteps: Tensor, noise: Tensor
    ) -> Tensor:
        """The loss, whose gradient replaces that of `weights`."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.on_gpu):
            loss = v_prediction_loss(self.forward, latents, context, condition, self.alphas_cumprod, timesteps, noise)
        # gathered at the end, in a few kernels: added up one by one they are hundreds
        parameters = list(self.unet.parameters())
        torch._foreach_copy_([p.grad for p in parameters], torch.autograd.grad(loss, parameters))
        return loss.detach()

    @torch.no_grad()
    def _apply(self) -> None:
        """AdamW on the mean gradient of all processes, clipped to length 1; then the running average."""
        gradient = self.weights.grad
        if self.world > 1:
            torch.distributed.all_reduce(gradient)
        gradient.mul_((1 / gradient.norm()).clamp(max=1 / self.world))
        self.rate.fill_(learning_rate(self.step, self.args.steps, self.args.lr))
        self.optimizer.step()
        self.average_weights.lerp_(self.weights, 1 - min(self.args.ema, (self.step + 1) / (self.step + 10)))

    def save(self, path: Path) -> None:
        """Everything that the next run needs to go on, in one safetensors file, replaced atomically."""
        moments = self.optimizer.state[self.weights]
        state = {"weights": self.weights.detach(), "average": self.average_weights}
        state |= {key: moments[key] for key in ("exp_avg", "exp_avg_sq")}
        state = {name: value.cpu() for name, value in state.items()}
        atomic_write(path, lambda partial: save_file(state, partial, metadata={"step": str(self.step)}))

    def load(self, path: Path) -> None:
        """Go on from a file of `save`."""
        state = load_file(path, device=str(self.device))
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["step"])
        with torch.no_grad():
            self.weights.copy_(state["weights"])
            self.average_weights.copy_(state["average"])
        self.optimizer.state[self.weights] = {
            "step": torch.tensor(float(self.step), device=self.device if self.on_gpu else "cpu"),
            "exp_avg": state["exp_avg"],
            "exp_avg_sq": state["exp_avg_sq"],
        }
