"""Train the tokenizer and the tiny language model on the corpus, for a fixed number of steps.

Usage: python train.py WORK_DIR [--steps N] [--rate PEAK_LEARNING_RATE]

Reads WORK_DIR/corpus.jsonl; writes WORK_DIR/tokenizer.json and WORK_DIR/model.pt.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import pathlib
import re
import time
from collections.abc import Iterator

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
CONFIG = {"vocab": 1536, "dim": 128, "layers": 5, "heads": 4, "ffn": 384, "rope_base": 10000.0, "eps": 1e-6}
# Every layer attends to this many tokens only: what a prompt of any length looks like was then seen in training.
WINDOW = 768
NARROW = (192, 448)
SPACED_WORDS = 240
MAX_LENGTH = 1024
BATCH_TOKENS = 3072
SHORT_LENGTH = 300
SHORT_SHARE = 1 / 3
PROMPT_WEIGHT = 0.1
SEED = 0

Example = tuple[list[int], list[float], int]


def train_merges(texts: list[str], size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn byte-level BPE merges that never cross a space, a newline, a digit or a path character.

    A word then has the same tokens after a space, inside quotes and inside a path, so that copying an
    argument out of the prompt is copying the very same tokens.

    Args:
        texts: Training texts.
        size: Wanted vocabulary size.

    Returns:
        The vocabulary and the merges, most important first.
    """
    tokenizer = Tokenizer(models.BPE())
    lonely = pre_tokenizers.Split(Regex(r'[ \n]|\p{N}|[^\s\p{L}\p{N}{}\[\]":,<>]'), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([lonely, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def build_tokenizer(texts: list[str]) -> Tokenizer:
    """Train the tokenizer, then add the most frequent words with a leading space as last merges.

    Args:
        texts: Training texts, without special tokens.

    Returns:
        A tokenizer which splits like the "gpt-2" pre-tokenizer of llama.cpp.
    """
    vocab, merges = train_merges(texts, CONFIG["vocab"] - SPACED_WORDS)
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        counts.update(re.findall(r' ([a-z]{2,}|[{}\[\]":,]+)(?![\w{}\[\]":,])', text))
    for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if len(vocab) == CONFIG["vocab"]:
            break
        if word in vocab:
            vocab["\u0120" + word] = len(vocab)
            merges.append(("\u0120", word))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def load_corpus(work: pathlib.Path) -> list[Example]:
    """Read the corpus, make the tokenizer and encode every example.

    Args:
        work: The work directory.

    Returns:
        The examples, each as token ids, their weights in the loss and the attention window.
    """
    with (work / "corpus.jsonl").open(encoding="ascii") as file:
        rows = [json.loads(line) for line in file]
    special = re.compile("|".join(map(re.escape, SPECIAL)))
    plain = [row["prompt"] + row["reply"] for row in rows[:10000] if not row["noise"]]
    texts = [part for text in plain for part in special.split(text) if part]
    tokenizer = build_tokenizer(texts)
    tokenizer.save(str(work / "tokenizer.json"))
    assistant = tokenizer.token_to_id("assistant")
    prompts = tokenizer.encode_batch([row["prompt"] for row in rows])
    replies = tokenizer.encode_batch([row["reply"] for row in rows])
    rng, examples = np.random.default_rng(SEED), []
    for row, prompt, reply in zip(rows, prompts, replies, strict=True):
        weights = [0.0] * len(prompt) if row["noise"] else loss_weights(prompt.ids, assistant)
        ids, weights = prompt.ids + reply.ids, weights + [1.0] * len(reply)
        if row["noise"] == "far":
            # In a narrow window a prompt of this length is many windows long.
            examples.append((ids[-MAX_LENGTH:], weights[-MAX_LENGTH:], int(rng.integers(*NARROW))))
        elif len(ids) <= MAX_LENGTH:
            examples.append((ids, weights, WINDOW))
    return examples


def loss_weights(prompt: list[int], assistant: int) -> list[float]:
    """Weigh the tokens of a prompt in the loss: full weight for what the assistant said before.

    Args:
        prompt: The token ids.
        assistant: The token of the role name.

    Returns:
        A weight for each token; none for the generation prompt, which the template decides and not the model.
    """
    start, end = SPECIAL.index("<|im_start|>"), SPECIAL.index("<|im_end|>")
    last = len(prompt) - prompt[::-1].index(start)
    weights, inside = [], False
    for i, token in enumerate(prompt):
        weights.append(0.0 if i >= last else 1.0 if inside else PROMPT_WEIGHT)
        if token == assistant and i and prompt[i - 1] == start:
            inside = True
        elif token == end:
            inside = False
    return weights


class Block(nn.Module):
    """A transformer block as llama.cpp's "gemma3" architecture computes its local layers."""

    def __init__(self, dim: int, heads: int, ffn: int, eps: float) -> None:
        """Make the weights.

        Args:
            dim: Width of the model.
            heads: Number of attention heads.
            ffn: Width of the feed-forward layer.
            eps: Epsilon of the norms.
        """
        super().__init__()
        self.heads = heads
        self.attn_norm = nn.RMSNorm(dim, eps=eps)
        self.attn_q_norm = nn.RMSNorm(dim // heads, eps=eps)
        self.attn_k_norm = nn.RMSNorm(dim // heads, eps=eps)
        self.attn_q = nn.Linear(dim, dim, bias=False)
        self.attn_k = nn.Linear(dim, dim, bias=False)
        self.attn_v = nn.Linear(dim, dim, bias=False)
        self.attn_output = nn.Linear(dim, dim, bias=False)
        self.post_attention_norm = nn.RMSNorm(dim, eps=eps)
        self.ffn_norm = nn.RMSNorm(dim, eps=eps)
        self.ffn_gate = nn.Linear(dim, ffn, bias=False)
        self.ffn_up = nn.Linear(dim, ffn, bias=False)
        self.ffn_down = nn.Linear(ffn, dim, bias=False)
        self.post_ffw_norm = nn.RMSNorm(dim, eps=eps)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Apply attention and the feed-forward layer.

        Args:
            x: Activations, batch by time by width.
            cos: Cosines of the rotary angles.
            sin: Sines of the rotary angles.
            mask: Added to the attention scores.

        Returns:
            The new activations.
        """
        batch, time_, dim = x.shape

        def split(y: torch.Tensor) -> torch.Tensor:
            return y.view(batch, time_, self.heads, dim // self.heads).transpose(1, 2)

        def rotate(y: torch.Tensor) -> torch.Tensor:
            a, b = y.chunk(2, -1)
            return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

        y = self.attn_norm(x)
        q, k, v = split(self.attn_q(y)), split(self.attn_k(y)), split(self.attn_v(y))
        # Written out: on a CPU the backward pass of the fused attention takes more than twice as long.
        q, k = rotate(self.attn_q_norm(q)) * (dim // self.heads) ** -0.5, rotate(self.attn_k_norm(k))
        scores = q @ k.transpose(-1, -2)
        scores = scores + mask.to(scores.dtype)
        y = torch.softmax(scores, -1, dtype=scores.dtype) @ v
        x = x + self.post_attention_norm(self.attn_output(y.transpose(1, 2).reshape(batch, time_, dim)))
        y = self.ffn_norm(x)
        y = functional.gelu(self.ffn_gate(y), approximate="tanh") * self.ffn_up(y)
        return x + self.post_ffw_norm(self.ffn_down(y))


class Model(nn.Module):
    """The tiny language model; input and output embeddings are shared."""

    def __init__(self) -> None:
        """Make and initialise the weights."""
        super().__init__()
        dim, layers = CONFIG["dim"], CONFIG["layers"]
        self.token_embd = nn.Embedding(CONFIG["vocab"], dim)
        self.blk = nn.ModuleList(Block(dim, CONFIG["heads"], CONFIG["ffn"], CONFIG["eps"]) for _ in range(layers))
        self.output_norm = nn.RMSNorm(dim, eps=CONFIG["eps"])
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02 if name.startswith("token") else dim**-0.5)
            elif "post_" in name:
                nn.init.constant_(weight, 0.2)

    def forward(self, ids: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
        """Compute the logits of every next token.

        Args:
            ids: Token ids, batch by time.
            windows: Attention window of each row.

        Returns:
            Logits, batch by time by vocabulary.
        """
        head = CONFIG["dim"] // CONFIG["heads"]
        frequencies = CONFIG["rope_base"] ** -(torch.arange(0, head, 2) / head)
        positions = torch.arange(ids.shape[1])
        angles = torch.outer(positions.float(), frequencies)
        cos, sin = angles.cos(), angles.sin()
        distance = positions[:, None] - positions
        seen = (distance >= 0) & (distance < windows[:, None, None, None])
        mask = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill_(~seen, -math.inf)
        x = self.token_embd(ids) * CONFIG["dim"] ** 0.5
        for block in self.blk:
            x = block(x, cos, sin, mask)
        return self.output_norm(x) @ self.token_embd.weight.T


def batches(examples: list[Example], rng: np.random.Generator) -> Iterator[list[Example]]:
    """Yield batches of examples of like length, forever.

    Args:
        examples: Encoded examples.
        rng: Random generator of the order.

    Yields:
        Examples whose padded size is at most BATCH_TOKENS.
    """
    while True:
        order = rng.permutation(len(examples))
        for start in range(0, len(order), 2048):
            chunk = sorted((examples[i] for i in order[start : start + 2048]), key=lambda e: len(e[0]))
            groups: list[list[Example]] = [[]]
            for example in chunk:
                if (len(groups[-1]) + 1) * len(example[0]) > BATCH_TOKENS:
                    groups.append([])
                groups[-1].append(example)
            for i in rng.permutation(len(groups)):
                yield groups[i]


def tensors(batch: list[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pad a batch.

    Args:
        batch: Encoded examples.

    Returns:
        Token ids, the weight of each token in the loss and the attention window of each row.
    """
    width = max(len(ids) for ids, _, _ in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    weights = torch.zeros(len(batch), width)
    for row, (tokens, scale, _) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(tokens)] = torch.tensor(scale)
    return ids, weights, torch.tensor([window for _, _, window in batch])


def optimizers(model: Model, rate: float) -> list[torch.optim.Optimizer]:
    """Make the optimizers: Muon for the matrices of the blocks, AdamW for the rest.

    Args:
        model: The model.
        rate: Peak learning rate.

    Returns:
        Both optimizers.
    """
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and n.startswith("blk")]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or not n.startswith("blk")]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(model: Model, examples: list[Example], steps: int, rate: float, save: pathlib.Path) -> None:
    """Train for a fixed number of steps: a short warm-up, then a linear decay to almost zero.

    Args:
        model: The model.
        examples: Encoded examples.
        steps: Number of optimizer steps.
        rate: Peak learning rate.
        save: File of the weights, also written as a checkpoint.
    """
    stream = batches(examples, np.random.default_rng(SEED))
    # Short chats first: copying is learned sooner where there is less to copy from.
    short = batches([e for e in examples if len(e[0]) <= SHORT_LENGTH], np.random.default_rng(SEED))
    opts = optimizers(model, rate)
    begin, seen, recent = time.time(), 0, collections.deque(maxlen=100)
    for step in range(1, steps + 1):
        factor = min(1.0, step / 60) * max(0.01, 1 - step / steps)
        ids, weights, windows = tensors(next(short if step < steps * SHORT_SHARE else stream))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids[:, :-1], windows)
        losses = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        scale = weights[:, 1:].flatten()
        ((losses * scale).sum() / scale.sum()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = rate * factor
            opt.step()
            opt.zero_grad()
        seen += ids.numel()
        recent.append(losses.detach()[scale == 1].mean().item())
        if step % 50 == 0 or step == steps:
            loss, spent = sum(recent) / len(recent), time.time() - begin
            print(f"step {step} reply loss {loss:.4f} tokens {seen} seconds {spent:.0f}", flush=True)
        if step % 250 == 0 or step == steps:
            torch.save(model.state_dict(), save)
    if not math.isfinite(loss):
        raise SystemExit("training diverged")


def main() -> None:
    """Run the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--rate", type=float, default=5e-3)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    examples = load_corpus(args.work)
    lengths = [len(ids) for ids, _, _ in examples]
    model = Model()
    count = sum(p.numel() for p in model.parameters())
    print(f"examples {len(examples)} tokens {sum(lengths)} longest {max(lengths)} parameters {count}", flush=True)
    train(model, examples, args.steps, args.rate, args.work / "model.pt")


if __name__ == "__main__":
    main()
