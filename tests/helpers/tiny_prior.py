"""A tiny pocket prior with random weights, for tests in which the quality of the prior does not matter."""

import json
from pathlib import Path

import torch

from sds3d.priors.weights import file_sha256


def write_tiny_prior(folder: Path, normals: bool = False) -> Path:
    """Writes the layout of `sds3d prior train` to `folder`, which must not exist."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    from sds3d.priors.pocket.bert import Bert
    from sds3d.priors.pocket.model import build_unet, save_unet
    from sds3d.priors.pocket.text import WIDTH
    from sds3d.priors.quantize import save_int8

    torch.manual_seed(0)
    text = folder / "text_encoder"
    text.mkdir(parents=True)
    vocab = {"[PAD]": 0, "[UNK]": 1, "red": 2, "mushroom": 3}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(text / "tokenizer.json"))
    config = {"vocab_size": 4, "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 4}
    config |= {"intermediate_size": 64, "max_position_embeddings": 32, "type_vocab_size": 2, "layer_norm_eps": 1e-12}
    (text / "config.json").write_text(json.dumps(config))
    bert = Bert(config)
    for table in bert.embeddings.children():
        torch.nn.init.normal_(table.weight)
    save_int8(bert.state_dict(), text / "weights.int8.safetensors")
    save_unet(build_unet((16, 32), layers=1, normals=normals), folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    manifest = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    (folder / "sha256.json").write_text(json.dumps(manifest))
    return folder
