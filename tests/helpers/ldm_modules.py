"""The original latent-diffusion networks in miniature: their state_dict has the original names by construction.

Written from their description: the truth that what diffusers computes with the same weights is held to.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def seeded(module, seed=0):
    """`module` with random weights that keep activations near one; no weight remains zero or one."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 25
        parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(fan_in)
    for layer in module.modules():
        if isinstance(layer, (nn.GroupNorm, nn.LayerNorm)):
            layer.weight.data += 1
    return module.eval().requires_grad_(False)


class Attention(nn.Module):
    """Softmax attention written out; without a context each token attends to its own sequence."""

    def __init__(self, width, context_width, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(self, x, context=None):
        context = x if context is None else context
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Dropout(0.0), nn.Linear(4 * width, width))

    def forward(self, x):
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention over all views of an object; cross-attention and feed-forward for each view."""

    def __init__(self, width, context_width, heads):
        super().__init__()
        self.attn1 = Attention(width, width, heads)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, context_width, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x, context, views):
        images, tokens, width = x.shape
        x = x.reshape(-1, views * tokens, width)
        x = (self.attn1(self.norm1(x)) + x).reshape(images, tokens, width)
        x = self.attn2(self.norm2(x), context) + x
        return self.ff(self.norm3(x)) + x


class SpatialTransformer(nn.Module):
    def __init__(self, width, context_width, heads, linear):
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in, self.proj_out = (nn.Linear(width, width) if linear else nn.Conv2d(width, width, 1) for _ in "io")
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, context_width, heads)])

    def forward(self, image, context, views):
        height, width = image.shape[2:]
        x = self.norm(image)
        x = self.proj_in(x.flatten(2).mT) if self.linear else self.proj_in(x).flatten(2).mT
        x = self.transformer_blocks[0](x, context, views)
        if self.linear:
            return self.proj_out(x).mT.unflatten(2, (height, width)) + image
        return self.proj_out(x.mT.unflatten(2, (height, width))) + image


class ResBlock(nn.Module):
    def __init__(self, width_in, width, embedding):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, width_in), nn.SiLU(), nn.Conv2d(width_in, width, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, width))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, width), nn.SiLU(), nn.Dropout(0.0), nn.Conv2d(width, width, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)

    def forward(self, x, embedding):
        y = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(y)


class Downsample(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Block(nn.Sequential):
    """Layers in sequence; each receives the arguments of its kind."""

    def forward(self, x, embedding, context, views):
        for layer in self:
            match layer:
                case ResBlock():
                    x = layer(x, embedding)
                case SpatialTransformer():
                    x = layer(x, context, views)
                case _:
                    x = layer(x)
        return x


class UNet(nn.Module):
    """With `heads` None: a head per 64 channels and linear projections; else `heads` heads and convolutions."""

    def __init__(self, width=64, mults=(1, 2), crossed=(True, False), layers=2, context=64, heads=None, latents=4):
        super().__init__()
        self.width, embedding = width, 4 * width

        def transformer(channels):
            return SpatialTransformer(channels, context, heads or channels // 64, linear=heads is None)

        self.time_embed, self.camera_embed = (
            nn.Sequential(nn.Linear(inputs, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
            for inputs in (width, 16)
        )
        channels, skips = width, [width]
        self.input_blocks = nn.ModuleList([Block(nn.Conv2d(latents, width, 3, padding=1))])
        for level, mult in enumerate(mults):
            for _ in range(layers):
                block = [ResBlock(channels, mult * width, embedding)]
                channels = mult * width
                block += [transformer(channels)] * crossed[level]
                self.input_blocks.append(Block(*block))
                skips.append(channels)
            if level < len(mults) - 1:
                self.input_blocks.append(Block(Downsample(channels)))
                skips.append(channels)
        self.middle_block = Block(
            ResBlock(channels, channels, embedding), transformer(channels), ResBlock(channels, channels, embedding)
        )
        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(mults))):
            for index in range(layers + 1):
                block = [ResBlock(channels + skips.pop(), mult * width, embedding)]
                channels = mult * width
                block += [transformer(channels)] * crossed[level]
                block += [Upsample(channels)] * (level > 0 and index == layers)
                self.output_blocks.append(Block(*block))
        self.out = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, latents, 3, padding=1))

    def forward(self, x, timesteps, context, cameras, views):
        frequencies = torch.exp(-math.log(10000) * torch.arange(self.width // 2) / (self.width // 2))
        angles = timesteps[:, None].float() * frequencies
        embedding = self.time_embed(torch.cat([angles.cos(), angles.sin()], 1)) + self.camera_embed(cameras)
        skips = []
        for block in self.input_blocks:
            x = block(x, embedding, context, views)
            skips.append(x)
        x = self.middle_block(x, embedding, context, views)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], 1), embedding, context, views)
        return self.out(x)


class VaeResBlock(nn.Module):
    def __init__(self, width_in, width):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, width_in, eps=1e-6), nn.Conv2d(width_in, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(32, width, eps=1e-6), nn.Conv2d(width, width, 3, padding=1)
        if width_in != width:
            self.nin_shortcut = nn.Conv2d(width_in, width, 1)

    def forward(self, x):
        y = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class VaeAttention(nn.Module):
    """Attention with one head over all pixels; projections are 1 x 1 convolutions."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (layer(y).flatten(2) for layer in (self.q, self.k, self.v))  # [B, C, P]
        weights = (q.mT @ k / math.sqrt(q.shape[1])).softmax(-1)
        return x + self.proj_out((v @ weights.mT).view_as(x))


class VaeDownsample(nn.Module):
    """Pads only on the right and at the bottom."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


def vae_middle(width):
    middle = nn.Module()
    middle.block_1, middle.block_2 = VaeResBlock(width, width), VaeResBlock(width, width)
    middle.attn_1 = VaeAttention(width)
    return middle


class Encoder(nn.Module):
    def __init__(self, width, mults, layers, latents):
        super().__init__()
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList()
        channels = width
        for index, mult in enumerate(mults):
            level = nn.Module()
            level.block = nn.ModuleList()
            for _ in range(layers):
                level.block.append(VaeResBlock(channels, mult * width))
                channels = mult * width
            if index < len(mults) - 1:
                level.downsample = VaeDownsample(channels)
            self.down.append(level)
        self.mid = vae_middle(channels)
        self.norm_out = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv_out = nn.Conv2d(channels, 2 * latents, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            for block in level.block:
                x = block(x)
            x = level.downsample(x) if hasattr(level, "downsample") else x
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        return self.conv_out(F.silu(self.norm_out(x)))


class Decoder(nn.Module):
    """Its levels are numbered like the encoder's, so the last one comes first."""

    def __init__(self, width, mults, layers, latents):
        super().__init__()
        channels = width * mults[-1]
        self.conv_in = nn.Conv2d(latents, channels, 3, padding=1)
        self.mid = vae_middle(channels)
        self.up = nn.ModuleList(nn.Module() for _ in mults)
        for index, mult in reversed(list(enumerate(mults))):
            level = self.up[index]
            level.block = nn.ModuleList()
            for _ in range(layers + 1):
                level.block.append(VaeResBlock(channels, mult * width))
                channels = mult * width
            if index:
                level.upsample = Upsample(channels)
        self.norm_out = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv_out = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        for level in reversed(self.up):
            for block in level.block:
                x = block(x)
            x = level.upsample(x) if hasattr(level, "upsample") else x
        return self.conv_out(F.silu(self.norm_out(x)))


class Vae(nn.Module):
    def __init__(self, width=32, mults=(1, 2), layers=1, latents=4):
        super().__init__()
        self.encoder, self.decoder = Encoder(width, mults, layers, latents), Decoder(width, mults, layers, latents)
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1)
        self.post_quant_conv = nn.Conv2d(latents, latents, 1)

    def encode(self, images):
        """Scaled latents: the mean of the posterior of images in [0, 1]."""
        return 0.18215 * self.quant_conv(self.encoder(2 * images - 1)).chunk(2, 1)[0]

    def decode(self, latents):
        return (self.decoder(self.post_quant_conv(latents / 0.18215)) / 2 + 0.5).clamp(0, 1)


class TextBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x):
        y = self.ln_1(x)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        x = x + self.attn(y, y, y, attn_mask=future, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class OpenClipText(nn.Module):
    """OpenCLIP's text tower, read before its last block."""

    def __init__(self, words, width=64, layers=3, length=77):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(length, width))
        self.text_projection = nn.Parameter(torch.empty(width, width))
        self.logit_scale = nn.Parameter(torch.empty([]))
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(TextBlock(width, width // 64) for _ in range(layers))
        self.token_embedding = nn.Embedding(words, width)
        self.ln_final = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.token_embedding(ids) + self.positional_embedding
        for block in self.transformer.resblocks[:-1]:
            x = block(x)
        return self.ln_final(x)
