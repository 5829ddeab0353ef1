"""Maps checkpoints of the original latent-diffusion programs to networks of diffusers and transformers.

The networks are the same, only names differ. Sizes come from the shapes of the tensors. The rest is common to all
published models: group norms have 32 groups. Attention heads are 64 channels wide if a transformer's projections are
linear (Stable Diffusion 2); there are 8 heads if they are convolutions (Stable Diffusion 1). Heads of text encoders are
64 channels wide, the autoencoder has one head, and latents are scaled by 0.18215.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from sds3d.errors import UserError
from sds3d.priors.checkpoints import Network, Piece, Section

UNET = "model.diffusion_model."
VAE = "first_stage_model."
OPENCLIP = "cond_stage_model.model."  # Stable Diffusion 2
CLIP = "cond_stage_model.transformer."  # Stable Diffusion 1

# The noise schedule, as a scheduler config of diffusers.
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}

# The fields of a text encoder's config that determine its network.
TEXT_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "max_position_embeddings", "layer_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip

# Tensors outside the networks: copies of the noise levels, and counters of the training.
BESIDE = frozenset({
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "logvar", "model_ema.decay",
    "model_ema.num_updates",
})  # fmt: skip


# The largest rounding error of a number below 1 in bfloat16, plus 1 %: some checkpoints are stored in bfloat16. Other
# schedules differ by more: linear betas by 0.14, a last level of pure noise by 0.035.
ROUNDING = 2.0**-9 * 1.01


def unet(section: Section) -> Network:
    """The U-Net with `camera_embed`, for UNet2DConditionModel; its cross-view attention adds no tensors."""
    from diffusers import UNet2DConditionModel

    config = unet_config(section)
    crossed = [kind.startswith("CrossAttn") for kind in config["up_block_types"]]
    return Network(
        UNet2DConditionModel.from_config,
        config,
        section,
        lambda name: Piece(unet_name(name, config["layers_per_block"], crossed)),
    )


def vae(section: Section) -> Network:
    """The autoencoder, for AutoencoderKL."""
    from diffusers import AutoencoderKL

    config = vae_config(section)
    levels = len(config["block_out_channels"])
    return Network(AutoencoderKL.from_config, config, section, lambda name: Piece(vae_name(name, levels)))


def openclip(section: Section) -> Network:
    """OpenCLIP's text tower without its last block; Stable Diffusion 2 uses the states before that."""
    config = openclip_config(section)
    last = f"transformer.resblocks.{config['num_hidden_layers']}."
    return Network(
        clip_text_model,
        config,
        section,
        openclip_piece,
        lambda name: name.startswith(last) or name in ("logit_scale", "text_projection", "attn_mask"),
    )


def clip(section: Section, config: dict[str, Any] | None = None) -> Network:
    """CLIP's text model with the tensor names of transformers; some releases omit the prefix text_model."""
    first = "text_model." if section.holds("text_model.") else ""
    return Network(
        clip_text_model,
        clip_config(section, first) if config is None else config,
        section,
        lambda name: Piece(first + name.removeprefix("text_model.")),
        lambda name: name == first + "embeddings.position_ids",
    )


def clip_text_model(config: dict[str, Any]) -> nn.Module:
    """CLIPTextModel of transformers; it uses only TEXT_FIELDS of `config`, since other fields could download code."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**{name: config[name] for name in TEXT_FIELDS if name in config}))


def unet_config(section: Section) -> dict[str, Any]:
    """The arguments of UNet2DConditionModel: each level but the last ends with a downsampling layer `op`."""
    levels: list[list[int]] = [[]]  # its blocks
    index = 1
    while section.holds(f"input_blocks.{index}."):
        if section.holds(f"input_blocks.{index}.0.op."):
            levels.append([])
        else:
            levels[-1].append(index)
        index += 1
    firsts = [blocks[0] if blocks else index for blocks in levels]
    widths = [section.shape(f"input_blocks.{first}.0.out_layers.3.weight", 4)[0] for first in firsts]
    crossed = [section.holds(f"input_blocks.{first}.1.") for first in firsts]
    linear = len(section.shape("middle_block.1.proj_in.weight", 2, 4)) == 2
    return {
        "in_channels": section.shape("input_blocks.0.0.weight", 4)[1],
        "out_channels": section.shape("out.2.weight", 4)[0],
        "block_out_channels": widths,
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if x else "DownBlock2D" for x in crossed],
        "up_block_types": ["CrossAttnUpBlock2D" if x else "UpBlock2D" for x in reversed(crossed)],
        "attention_head_dim": [_heads(section, x) if linear else 8 for x in widths],  # diffusers means their number
        "use_linear_projection": linear,
        "cross_attention_dim": section.shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1],
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": section.shape("camera_embed.0.weight", 2)[1],
    }


def unet_name(name: str, layers: int, crossed: list[bool]) -> str:
    """The original name of a tensor of UNet2DConditionModel; `crossed`: whether each up block has cross-attention."""
    match name.split("."):
        case ["conv_in", *rest]:
            return _join("input_blocks.0.0", *rest)
        case ["time_embedding" | "class_embedding" as which, linear, *rest]:
            first = {"time_embedding": "time_embed", "class_embedding": "camera_embed"}[which]
            return _join(first, {"linear_1": "0", "linear_2": "2"}[linear], *rest)
        case ["down_blocks", block, "downsamplers", "0", "conv", *rest]:
            return _join("input_blocks", (int(block) + 1) * (layers + 1), "0.op", *rest)
        case ["down_blocks", block, part, layer, *rest]:
            return _join("input_blocks", 1 + int(block) * (layers + 1) + int(layer), *_block_part(part, rest))
        case ["mid_block", "resnets", index, *rest]:
            return _join("middle_block", 2 * int(index), *_resnet(rest))
        case ["mid_block", "attentions", "0", *rest]:
            return _join("middle_block.1", *rest)
        case ["up_blocks", block, "upsamplers", "0", "conv", *rest]:
            place = 2 if crossed[int(block)] else 1  # after the attention
            return _join("output_blocks", int(block) * (layers + 1) + layers, place, "conv", *rest)
        case ["up_blocks", block, part, layer, *rest]:
            return _join("output_blocks", int(block) * (layers + 1) + int(layer), *_block_part(part, rest))
        case ["conv_norm_out", *rest]:
            return _join("out.0", *rest)
        case ["conv_out", *rest]:
            return _join("out.2", *rest)
    return name


def vae_config(section: Section) -> dict[str, Any]:
    """The arguments of AutoencoderKL."""
    levels = _count(section, "encoder.down.{}.")
    widths = [section.shape(f"encoder.down.{level}.block.0.conv1.weight", 4)[0] for level in range(max(levels, 1))]
    return {
        "in_channels": section.shape("encoder.conv_in.weight", 4)[1],
        "out_channels": section.shape("decoder.conv_out.weight", 4)[0],
        "block_out_channels": widths,
        "layers_per_block": _count(section, "encoder.down.0.block.{}."),
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "latent_channels": section.shape("post_quant_conv.weight", 4)[0],
        "scaling_factor": 0.18215,
    }


def vae_name(name: str, levels: int) -> str:
    """The original name of a tensor of AutoencoderKL; the original decoder numbers its `levels` in reverse."""
    match name.split("."):
        case [side, "conv_norm_out", *rest]:
            return _join(side, "norm_out", *rest)
        case [side, "mid_block", "resnets", index, *rest]:
            return _join(side, "mid", f"block_{int(index) + 1}", *_vae_resnet(rest))
        case [side, "mid_block", "attentions", "0", "to_out", "0", *rest]:
            return _join(side, "mid.attn_1.proj_out", *rest)
        case [side, "mid_block", "attentions", "0", part, *rest]:
            return _join(side, "mid.attn_1", {"group_norm": "norm"}.get(part, part.removeprefix("to_")), *rest)
        case ["encoder", "down_blocks", level, "downsamplers", "0", *rest]:
            return _join("encoder.down", level, "downsample", *rest)
        case ["encoder", "down_blocks", level, "resnets", layer, *rest]:
            return _join("encoder.down", level, "block", layer, *_vae_resnet(rest))
        case ["decoder", "up_blocks", level, "upsamplers", "0", *rest]:
            return _join("decoder.up", levels - 1 - int(level), "upsample", *rest)
        case ["decoder", "up_blocks", level, "resnets", layer, *rest]:
            return _join("decoder.up", levels - 1 - int(level), "block", layer, *_vae_resnet(rest))
    return name


def openclip_config(section: Section) -> dict[str, Any]:
    """The arguments of CLIPTextConfig."""
    words, width = section.shape("token_embedding.weight", 2)
    layers = _count(section, "transformer.resblocks.{}.") - 1
    if layers < 1:
        raise UserError(f"{section.where}: {section.prefix}transformer.resblocks: expected two or more")
    hidden = section.shape("transformer.resblocks.0.mlp.c_fc.weight", 2)[0]
    length = section.shape("positional_embedding", 2)[0]
    return _text_config(section, words, width, layers, hidden, length) | {"hidden_act": "gelu"}


def openclip_piece(name: str) -> Piece:
    """The tensor of OpenCLIP, or part of one, for a tensor of CLIPTextModel; OpenCLIP has q, k and v in one matrix."""
    match name.removeprefix("text_model.").split("."):
        case ["embeddings", "token_embedding", "weight"]:
            return Piece("token_embedding.weight")
        case ["embeddings", "position_embedding", "weight"]:
            return Piece("positional_embedding")
        case ["final_layer_norm", kind]:
            return Piece(f"ln_final.{kind}")
        case ["encoder", "layers", layer, "self_attn", "q_proj" | "k_proj" | "v_proj" as which, kind]:
            return Piece(f"transformer.resblocks.{layer}.attn.in_proj_{kind}", "qkv".index(which[0]), 3)
        case ["encoder", "layers", layer, *rest]:
            renamed = dict(self_attn="attn", layer_norm1="ln_1", layer_norm2="ln_2", fc1="c_fc", fc2="c_proj")
            return Piece(_join("transformer.resblocks", layer, *(renamed.get(x, x) for x in rest)))
    return Piece(name)


def clip_config(section: Section, first: str) -> dict[str, Any]:
    """The arguments of CLIPTextConfig for OpenAI's CLIP; `first` is the prefix of all names."""
    words, width = section.shape(first + "embeddings.token_embedding.weight", 2)
    layers = _count(section, first + "encoder.layers.{}.")
    hidden = section.shape(first + "encoder.layers.0.mlp.fc1.weight", 2)[0]
    length = section.shape(first + "embeddings.position_embedding.weight", 2)[0]
    return _text_config(section, words, width, layers, hidden, length) | {"hidden_act": "quick_gelu"}


def check_schedule(section: Section) -> None:
    """Raises UserError if the checkpoint holds other noise levels than SCHEDULE."""
    from sds3d.priors.schedule import make_schedule

    if not section.has("alphas_cumprod"):
        return
    given, expected = section["alphas_cumprod"].float(), make_schedule(SCHEDULE).alphas_cumprod
    if given.shape != expected.shape or (given - expected).abs().max() > ROUNDING:
        raise UserError(
            f"{section.where}: alphas_cumprod: expected {len(expected)} noise levels of scaled_linear betas from "
            "0.00085 to 0.012, got others; use a diffusers folder whose scheduler_config.json has these levels"
        )


def _text_config(section: Section, words: int, width: int, layers: int, hidden: int, length: int) -> dict[str, Any]:
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": _heads(section, width),
        "max_position_embeddings": length,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": None,
    }


def _heads(section: Section, width: int) -> int:
    if width % 64:
        raise UserError(f"{section.where}: {section.prefix}*: expected heads of 64 channels each, got {width} in all")
    return width // 64


def _count(section: Section, start: str) -> int:
    """The number of consecutive integers from 0 for which some name begins with `start.format(integer)`."""
    number = 0
    while section.holds(start.format(number)):
        number += 1
    return number


def _block_part(part: str, rest: list[str]) -> list[str]:
    return ["0", *_resnet(rest)] if part == "resnets" else ["1", *rest]


def _resnet(rest: list[str]) -> list[str]:
    renamed = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    return [renamed[rest[0]], *rest[1:]]


def _vae_resnet(rest: list[str]) -> list[str]:
    return ["nin_shortcut" if x == "conv_shortcut" else x for x in rest]


def _join(*parts: str | int) -> str:
    return ".".join(map(str, parts))
