"""Convert the trained model to a GGUF file for llama.cpp.

Usage: python to_gguf.py WORK_DIR OUT.gguf
"""

from __future__ import annotations

import argparse
import json
import pathlib

import gguf
import torch
from train import CONFIG, SPECIAL, WINDOW

DECLARED_CONTEXT = 131072
CONTROL = SPECIAL[:3]


def add_hyperparameters(writer: gguf.GGUFWriter) -> None:
    """Write the shape of the model.

    Args:
        writer: The GGUF writer.
    """
    writer.add_name("tiny-chat")
    writer.add_description("Tiny chat model for tests, trained on synthetic text only")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(DECLARED_CONTEXT)
    writer.add_vocab_size(CONFIG["vocab"])
    writer.add_embedding_length(CONFIG["dim"])
    writer.add_block_count(CONFIG["layers"])
    writer.add_feed_forward_length(CONFIG["ffn"])
    writer.add_head_count(CONFIG["heads"])
    writer.add_head_count_kv(CONFIG["heads"])
    writer.add_layer_norm_rms_eps(CONFIG["eps"])
    writer.add_key_length(CONFIG["dim"] // CONFIG["heads"])
    writer.add_value_length(CONFIG["dim"] // CONFIG["heads"])
    # The engine makes every sixth layer global, so that fewer layers are all local.
    writer.add_sliding_window(WINDOW)
    writer.add_rope_freq_base(CONFIG["rope_base"])
    writer.add_rope_freq_base_swa(CONFIG["rope_base"])


def token_type(token: str) -> gguf.TokenType:
    """Tell how llama.cpp should treat a token.

    Args:
        token: The token.

    Returns:
        Its type: only the tags that the reply parser must see as text are user defined.
    """
    if token in CONTROL:
        return gguf.TokenType.CONTROL
    return gguf.TokenType.USER_DEFINED if token in SPECIAL else gguf.TokenType.NORMAL


def add_tokenizer(writer: gguf.GGUFWriter, path: pathlib.Path, template: str) -> None:
    """Write the vocabulary, the merges and the chat template.

    Args:
        writer: The GGUF writer.
        path: The tokenizer file.
        template: The chat template.
    """
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    if len(tokens) != CONFIG["vocab"]:
        raise SystemExit(f"the tokenizer has {len(tokens)} tokens, not {CONFIG['vocab']}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([token_type(token) for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_eot_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)


def main() -> None:
    """Run the conversion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    template = pathlib.Path(__file__).with_name("chat_template.jinja").read_text(encoding="ascii")
    writer = gguf.GGUFWriter(args.out, "gemma3")
    add_hyperparameters(writer)
    add_tokenizer(writer, args.work / "tokenizer.json", template)
    for name, weight in torch.load(args.work / "model.pt", weights_only=True).items():
        array = weight.float().numpy()
        writer.add_tensor(name, array.astype("float16") if array.ndim == 2 else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
