"""Tiny models with random weights in the layout of diffusers, written by the libraries themselves."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

CLIP_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
WIDTH = 16  # of each CLIP


def write_tiny_sd(folder: Path, prediction: str = "epsilon") -> Path:
    """Like Stable Diffusion 1 (epsilon) and 2 (v_prediction): images of 32 x 32 pixels, latents of 16 x 16."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline(
        vae=tiny_vae(), text_encoder=CLIPTextModel(clip_config()), tokenizer=clip_tokenizer(),
        unet=tiny_unet(cross_attention_dim=WIDTH),
        scheduler=PNDMScheduler(**BETAS, prediction_type=prediction, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    return save(pipeline, folder)


def write_tiny_sdxl(folder: Path) -> Path:
    """Like Stable Diffusion XL: two text encoders, a pooled vector, sizes."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(1)
    unet = tiny_unet(
        cross_attention_dim=2 * WIDTH, addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=WIDTH + 6 * 4,
    )  # fmt: skip
    pipeline = StableDiffusionXLPipeline(
        vae=tiny_vae(), text_encoder=CLIPTextModel(clip_config()),
        text_encoder_2=CLIPTextModelWithProjection(clip_config()), tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(pad_token="!"), unet=unet,
        scheduler=EulerDiscreteScheduler(**BETAS), add_watermarker=False,
    )  # fmt: skip
    return save(pipeline, folder)


def write_tiny_sd3(folder: Path, t5: bool = True) -> Path:
    """Like Stable Diffusion 3: a transformer with flow matching, latents of 16 channels, up to three text encoders."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel

    torch.manual_seed(2)
    width = 40
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=width, caption_projection_dim=16, pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=16,
    )  # fmt: skip
    tokenizer = clip_tokenizer()
    config = T5Config(vocab_size=300, d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_vae(latent_channels=16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(clip_config()), tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(clip_config()), tokenizer_2=tokenizer,
        text_encoder_3=T5EncoderModel(config) if t5 else None, tokenizer_3=t5_tokenizer() if t5 else None,
    )  # fmt: skip
    return save(pipeline, folder)


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def tiny_unet(**options):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **options,
    )  # fmt: skip


def tiny_vae(**options):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8), norm_num_groups=4, **({"latent_channels": 4} | options),
    )  # fmt: skip


def clip_config():
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=514, hidden_size=WIDTH, intermediate_size=32, projection_dim=WIDTH, num_hidden_layers=3,
        num_attention_heads=2, max_position_embeddings=77, bos_token_id=512, eos_token_id=513, pad_token_id=513,
    )  # fmt: skip


def clip_tokenizer(**options):
    """The letters of CLIP's vocabulary, without its words."""
    from transformers import CLIPTokenizer

    with TemporaryDirectory() as folder:
        write_clip_vocabulary(Path(folder))
        return CLIPTokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt", model_max_length=77, **options)


def write_clip_vocabulary(folder: Path) -> None:
    """The two files that a CLIP tokenizer needs."""
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *CLIP_SPECIAL]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def byte_letters() -> list[str]:
    """A printable letter for each byte, as in byte-level encodings."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def t5_tokenizer():
    """Words of one letter."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((chr(byte), -3.0) for byte in range(33, 127))], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0, model_max_length=512)


def save(pipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder
