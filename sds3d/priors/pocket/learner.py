"""An optimizer step of the pocket network; on a GPU, it is recorded as a CUDA graph and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sds3d.priors.flat import flatten_parameters
from sds3d.priors.pocket import model
from sds3d.priors.pocket.data import Batch, render_latents
from sds3d.priors.pocket.options import TrainingConfig
from sds3d.priors.pocket.text import TextEncoder
from sds3d.priors.training import Trained, scheduled_rate

WARM_UP_STEPS = 3  # run eagerly before the recording, so that compilers and libraries finish their setup
TEXT_NOISE = 0.2  # standard deviation, for tokens of unit variance: nearby words should give similar pictures


def v_prediction_loss(
    unet: Callable[..., Tensor],
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
    """Linear warm-up over 300 steps, constant, then a cosine to zero over the last 40 % of the run."""
    return scheduled_rate(step, steps, peak, warm_up=300, flat=0.6)


class Prepared(NamedTuple):
    """The inputs of a step, and the event after which they are ready, None on a CPU."""

    inputs: list[Tensor]
    ready: torch.cuda.Event | None


class Learner(Trained):
    """The network, its running average, the optimizer and the step count, and the recorded step on a GPU."""

    def __init__(self, cfg: TrainingConfig, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.cfg, self.device, self.rank, self.world = cfg, device, rank, world
        self.on_gpu = device.type == "cuda"
        if self.on_gpu:
            self.stream = torch.cuda.Stream(device, priority=-1)  # a graph cannot be recorded on the default stream
            self.rendering = torch.cuda.Stream(device)  # of lower priority, concurrent with the step
            torch.cuda.set_stream(self.stream)
        torch.manual_seed(cfg.seed)
        torch.backends.cudnn.benchmark = True  # the default convolution algorithms are slow here
        shape = (tuple(cfg.channels), cfg.layers, cfg.normals)
        self.unet = model.build_unet(*shape).to(device)
        if cfg.init:
            state = model.load_unet(cfg.init).state_dict()
            adds_normals = cfg.normals and not model.network_shape(cfg.init)["normals"]
            self.unet.load_state_dict(model.widened(state) if adds_normals else state)
        self.average = model.build_unet(*shape).to(device).requires_grad_(False)
        self.average.load_state_dict(self.unet.state_dict())
        self.average_weights = flatten_parameters(self.average)
        self.rate = torch.zeros((), device=device)
        adamw = {"lr": self.rate, "betas": (0.9, 0.99), "weight_decay": 0.01}
        super().__init__(self.unet, {}, **adamw, fused=self.on_gpu, capturable=self.on_gpu)
        self.saved["average"] = self.average_weights
        self.encoder = TextEncoder(cfg.text).to(device)
        self.alphas_cumprod = model.cumulative_alphas().to(device)
        self.forward = torch.compile(self.unet) if cfg.compile else self.unet
        self.inputs: list[Tensor] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warmed_up = 0

    def train(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """Takes an optimizer step for each batch; yields the loss of this process's share, a tensor on the device.

        While a step runs, the next batch is rendered in another stream.
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
        """The result of `_inputs`, on a GPU in a separate stream."""
        if not self.on_gpu:
            return Prepared(self._inputs(batch.to(self.device), step), None)
        with torch.cuda.stream(self.rendering):
            inputs = self._inputs(batch.to(self.device), step)
            for tensor in inputs:
                tensor.record_stream(self.stream)  # prevents reuse of its memory before the step has read it
            return Prepared(inputs, self.rendering.record_event())

    def _take(self, prepared: Prepared) -> Tensor:
        if prepared.ready:
            self.stream.wait_event(prepared.ready)
        loss = self._replay(prepared.inputs) if self.on_gpu else self._gradient(*prepared.inputs)
        self._apply()
        self.step += 1
        return loss

    def _replay(self, inputs: list[Tensor]) -> Tensor:
        """`_gradient` as a CUDA graph on the tensors of the first call; later inputs are copied into them."""
        self.inputs = self.inputs or [x.clone() for x in inputs]
        torch._foreach_copy_(self.inputs, inputs)
        if self.warmed_up < WARM_UP_STEPS:
            self.warmed_up += 1
            return self._gradient(*self.inputs)
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            # thread_local, since the loader's thread pins memory at the same time
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                self.loss = self._gradient(*self.inputs)
        self.graph.replay()
        return self.loss.clone()

    @torch.no_grad()
    def _inputs(self, batch: Batch, step: int) -> list[Tensor]:
        """Latents, context, camera condition, timesteps and noise of the batch of a step."""
        seed = (self.cfg.seed * 1_000_003 + step) * 64 + self.rank
        generator = torch.Generator(self.device).manual_seed(seed)
        latents = render_latents(batch, self.cfg.normals).contiguous(memory_format=torch.channels_last)
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
        """The loss; its gradient is written to `weights.grad`."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.on_gpu):
            loss = v_prediction_loss(self.forward, latents, context, condition, self.alphas_cumprod, timesteps, noise)
        # copied at the end by a few kernels; accumulating them one by one takes hundreds
        parameters = list(self.unet.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]  # all have one: views of `weights.grad`
        torch._foreach_copy_(gradients, torch.autograd.grad(loss, parameters))
        return loss.detach()

    @torch.no_grad()
    def _apply(self) -> None:
        """AdamW on the mean gradient of all processes, clipped to norm 1; then the running average."""
        gradient = self.weights.grad
        assert gradient is not None
        if self.world > 1:
            torch.distributed.all_reduce(gradient)
        gradient.mul_((1 / gradient.norm()).clamp(max=1 / self.world))
        self.rate.fill_(learning_rate(self.step, self.cfg.steps, self.cfg.lr))
        self.optimizer.step()
        self.average_weights.lerp_(self.weights, 1 - min(self.cfg.ema, (self.step + 1) / (self.step + 10)))
