"""The tokenizer and the text encoder."""

import json
import re
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from workers.models.atlas_training import words

TEXT_WIDTH = 160
MAX_TOKENS = 77
LAYERS = 2
"""Before it learns positions."""
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def caption_words() -> list[str]:
    """Every word of a caption but some links of ``placing``, which are spelt in pieces."""
    groups: Iterable[tuple[str, ...]] = (
        *words.WORDS.values(),
        words.SNOW_MOUNTAINS,
        words.COAST,
        words.ISLANDS,
        *words.SIDES.values(),
        words.CENTRE,
        words.OPENINGS,
        words.NOISE,
        ("and with in the to on at",),
    )
    text = " ".join(phrase for group in groups for phrase in group)
    return sorted(set(re.findall(r"[a-z]+", text)))


def new_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer to which every caption word is one token; others are spelt in pieces."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(caption_words(), trainer)
    vocabulary, merges = _parts(tokenizer)
    for symbol in alphabet:
        vocabulary.setdefault(f"{symbol}</w>", len(vocabulary))
    vocabulary |= {BOS: len(vocabulary), EOS: len(vocabulary) + 1}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def new_text_encoder(tokenizer: CLIPTokenizer, layers: int = LAYERS) -> CLIPTextModel:
    """An untrained text encoder for *tokenizer*."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=480,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids ``(N, 77)`` int64, padded the way the pipelines pad."""
    coded = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    ids: Tensor = coded.input_ids.to(torch.int64)
    return ids


def _parts(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(tokenizer.to_str())["model"]
    merges = [
        tuple(pair) if isinstance(pair, list) else tuple(pair.split()) for pair in model["merges"]
    ]
    return dict(model["vocab"]), merges
