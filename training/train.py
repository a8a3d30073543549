"""Train the demo model and write it as a GGUF file.

    python train.py ../src/pluggably/demo/demo.gguf

Everything follows from the seed: the text is made by corpus.py, the tokenizer is trained on it, then the
network. The number of steps is fixed, so a slower machine only takes longer.
"""

import argparse
import math
import os
import random
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # leave the processor to torch

import torch
from chat_format import END, SPECIAL_TOKENS, START, render
from corpus import dialogue
from export import export, read_tensors, read_tokens
from model import Llama, Shape
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional

SEED = 7
TOKENS_PER_BATCH = 2048
TOKENIZER_DIALOGUES = 20_000
POOL_BATCHES = 32  # dialogues of similar length are batched together, out of a pool of this many batches
PROMPT_WEIGHT = 0.03  # the model learns to answer; what the user says is mostly made-up noise
MATRIX_RATE = 0.02  # learning rates of Muon (matrices) and AdamW (embedding and norms)
OTHER_RATE = 0.004
# Step and share of the full learning rate, with straight lines in between; the last step ends the training.
RATE_SCHEDULE = [(0, 1 / 60), (59, 1.0), (1925, 1.0), (2850, 0.7413), (3600, 0.0)]
STEPS = RATE_SCHEDULE[-1][0]

# One digit is one token, as in llama.cpp's "qwen2" rule: sums are learnt digit by digit.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_tokenizer(bpe: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(rng: random.Random, size: int) -> Tokenizer:
    tokenizer = make_tokenizer(models.BPE())
    texts = (render(dialogue(rng)).replace(START, "").replace(END, "") for _ in range(TOKENIZER_DIALOGUES))
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


class Encoder:
    """Turns a dialogue into token numbers and the weight of each token in the loss."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.start = tokenizer.token_to_id(START)
        self.end = tokenizer.token_to_id(END)
        self.assistant = tokenizer.encode("assistant\n").ids

    def __call__(self, text: str) -> tuple[list[int], list[float]]:
        tokens = self.tokenizer.encode(text).ids
        weights = [PROMPT_WEIGHT] * len(tokens)
        opening = len(self.assistant) + 1
        for at, token in enumerate(tokens):
            if token == self.start and tokens[at + 1 : at + opening] == self.assistant:
                first = at + opening
                stop = tokens.index(self.end, first) + 1
                # Short answers count more per token: the one digit of a sum is worth a line of a story.
                weights[first:stop] = [3.0 / math.sqrt(stop - first)] * (stop - first)
        return tokens, weights


def batches(rng: random.Random, encode: Encoder, longest: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of about TOKENS_PER_BATCH tokens, each padded to its longest dialogue."""
    while True:
        pool: list[tuple[list[int], list[float]]] = []
        size = 0
        while size < POOL_BATCHES * TOKENS_PER_BATCH:
            tokens, weights = encode(render(dialogue(rng)))
            if len(tokens) <= longest:
                pool.append((tokens, weights))
                size += len(tokens)
        pool.sort(key=lambda item: len(item[0]))
        ready, rows = [], []
        for item in pool:
            if rows and len(item[0]) * (len(rows) + 1) > TOKENS_PER_BATCH:
                ready.append(pad(rows))
                rows = []
            rows.append(item)
        ready.append(pad(rows))
        rng.shuffle(ready)
        yield from ready


def pad(rows: list[tuple[list[int], list[float]]]) -> tuple[Tensor, Tensor]:
    length = max(len(tokens) for tokens, _ in rows)
    inputs = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    for row, (tokens, token_weights) in enumerate(rows):
        inputs[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(tokens)] = torch.tensor(token_weights)
    return inputs, weights


def optimizers(model: Llama) -> list[torch.optim.Optimizer]:
    """Muon learns the matrices in about half the steps of AdamW; it is not meant for the rest."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and name.startswith("blk")]
    others = [p for name, p in model.named_parameters() if p.dim() == 1 or not name.startswith("blk")]
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def rate_factor(step: int, steps: int) -> float:
    """The share at a step; a shorter training runs through the same schedule faster."""
    at = step * STEPS / steps
    for (start, low), (stop, high) in pairwise(RATE_SCHEDULE):
        if at < stop:
            return low + (high - low) * (at - start) / (stop - start)
    return 0.0


def weighted_loss(model: Llama, inputs: Tensor, weights: Tensor) -> Tensor:
    logits = model(inputs)[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), inputs[:, 1:].flatten(), reduction="none")
    flat = weights[:, 1:].flatten()
    return (losses * flat).sum() / flat.sum()


def train(model: Llama, feed: Iterator[tuple[Tensor, Tensor]], steps: int, share: float = 1.0) -> None:
    parts = optimizers(model)
    base_rates = [share * part.param_groups[0]["lr"] for part in parts]
    started, seen, smooth = time.monotonic(), 0, 0.0
    for step in range(steps):
        inputs, weights = next(feed)
        for part, rate in zip(parts, base_rates, strict=True):
            part.param_groups[0]["lr"] = rate * rate_factor(step, steps)
            part.zero_grad()
        loss = weighted_loss(model, inputs, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in parts:
            part.step()
        seen += inputs.numel()
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - started
            print(f"step {step + 1}/{steps}  loss {smooth:.4f}  {seen / spent:.0f} tokens/s  {spent:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model of Pluggably.")
    parser.add_argument("target", type=Path, help="the GGUF file to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--start", type=Path, help="go on from this GGUF file instead of from nothing")
    parser.add_argument("--rate", type=float, default=1.0, help="share of the usual learning rates")
    parser.add_argument("--text-seed", type=int, default=SEED + 1, help="another seed makes other dialogues")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    shape = Shape()
    model = Llama(shape)
    if options.start:
        read_tensors(options.start, model)
        tokenizer = make_tokenizer(models.BPE(*read_tokens(options.start)))
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    else:
        tokenizer = train_tokenizer(random.Random(SEED), shape.vocabulary)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    feed = batches(random.Random(options.text_seed), Encoder(tokenizer), shape.context)
    train(model, feed, options.steps, options.rate)
    options.target.parent.mkdir(parents=True, exist_ok=True)
    export(model, tokenizer, options.target)
    print(f"wrote {options.target}: {options.target.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
