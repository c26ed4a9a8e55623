#!/usr/bin/env python3
"""Transfer Q* the way its authors' program decodes, in PyTorch and transformers, timed per token.

One model is both policy and baseline: here the demo's model with the valence adapter merged in. For
every token the candidates with the largest logits are each continued greedily, in one batch and
from scratch; what comes out is turned into text, tokenized again and scored by the reward model,
and the candidate with the largest logit + reward / alpha is taken. As there, rollouts run past the
answer's limit, an end token does not end the answer, and special tokens stay in the text; with
--cap an answer and its rollouts end where the answer's limit or an end token says, and end tokens
are left out of what is scored.
"""
import argparse
import copy
import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
import gguf
import torch
import transformers
from safetensors import safe_open

ASSETS = Path(__file__).resolve().parents[2] / "examples" / "assets"
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
END_TOKENS = ("<|im_end|>", "<|endoftext|>")
PREAMBLE = (
    "You are asked for a short review. Please keep to these rules. Write in plain English, in whole "
    "sentences, without headings and without lists. Say first what is reviewed, then what it was like "
    "to use it, to see it or to be there, and at last whether you would choose it again. Speak of what "
    "you have seen yourself, and leave out what you have only heard from others. Do not name prices, "
    "shops or brands, and do not speak of anybody's looks, age or origin. A reader who knows nothing of "
    "the matter should understand every word, so explain what is not common knowledge in half a "
    "sentence. Be honest: if something was good, say what was good about it, and if something was bad, "
    "say how it could have been better. Do not repeat the question, do not thank anybody for it, and do "
    "not end with an offer of further help. Keep the tone friendly and calm, as in a letter to somebody "
    "whom you like and who will read it twice. Here is what the review is about. ")
PROJECTIONS = {"attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj", "attn_output": "o_proj"}


def load_trunk(path):
    """The tokenizer and the float32 weights of a GGUF file."""
    where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    tokenizer.padding_side = "right"
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    return tokenizer, model.eval()


def in_transformers_order(rows, heads):
    """llama.cpp keeps the rows of q and k in another order within each head."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def merge_lora(model, path):
    """Adds a llama.cpp adapter to the weights: W += alpha / r * B A."""
    reader = gguf.GGUFReader(path)
    alpha = float(reader.get_field("adapter.lora.alpha").contents())
    tensors = {t.name: torch.from_numpy(t.data.astype("float32")) for t in reader.tensors}
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    for name in [name for name in tensors if name.endswith(".lora_a")]:
        _, layer, kind = name.split(".")[:3]
        a, b = tensors[name], tensors[name.replace(".lora_a", ".lora_b")]
        if kind in heads:
            b = in_transformers_order(b, heads[kind])
        projection = getattr(model.model.layers[int(layer)].self_attn, PROJECTIONS[kind])
        projection.weight.data += alpha / a.shape[0] * b @ a


class Reference:
    def __init__(self, options):
        self.options = options
        self.tokenizer, self.policy = load_trunk(Path(options.model))
        self.trunk = copy.deepcopy(self.policy).model
        merge_lora(self.policy, options.lora)
        self.policy.to(getattr(torch, options.dtype))
        self.trunk.to(getattr(torch, options.dtype))
        with safe_open(options.head, "pt") as head:
            self.weight = head.get_tensor("score.weight")[0]
            self.bias = head.get_tensor("score.bias")
        self.ends = self.tokenizer.convert_tokens_to_ids(list(END_TOKENS))

    def candidates(self, new_tokens, cache):
        """The top_k next tokens and their logits, and the cache."""
        output = self.policy(torch.tensor([new_tokens]), past_key_values=cache, use_cache=True)
        top = output.logits[0, -1].float().topk(self.options.top_k)
        return top.indices.tolist(), top.values, output.past_key_values

    def continued(self, branches, left):
        """Each branch with its greedy rollout."""
        length = min(self.options.horizon, left) if self.options.cap else self.options.horizon
        if length == 0:
            return branches
        batch = torch.tensor(branches)
        return self.policy.generate(batch, attention_mask=torch.ones_like(batch),
                                    max_new_tokens=length, do_sample=False,
                                    eos_token_id=self.ends, pad_token_id=0).tolist()

    def judged(self, row, prompt_size, rollout_start):
        """The tokens of a row that the reward sees: after a rollout's end comes padding."""
        first = prompt_size if self.options.cap else rollout_start
        for i in range(first, len(row)):
            if row[i] in self.ends:
                return row[:i] if self.options.cap else row[:i + 1]
        return row

    def rewards(self, rows):
        """The reward of each row, read from its text."""
        texts = [self.tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in rows]
        batch = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        states = self.trunk(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        last = batch.attention_mask.sum(1) - 1
        pooled = states.last_hidden_state[torch.arange(len(rows)), last].float()
        return torch.sigmoid(pooled @ self.weight + self.bias), texts

    def step(self, sequence, prompt_size, unread, cache):
        """One decision: the record of it, and the cache."""
        tokens, logits, cache = self.candidates(unread, cache)
        left = self.options.tokens - (len(sequence) - prompt_size) - 1
        rows = self.continued([sequence + [token] for token in tokens], left)
        rows = [self.judged(row, prompt_size, len(sequence) + 1) for row in rows]
        q, _ = self.rewards(rows)
        token = tokens[int((logits + q / self.options.alpha).argmax())]
        return {"token": token, "candidates": tokens, "logits": logits.tolist(),
                "q": q.tolist()}, cache

    def answer(self, prompt):
        """One answer, with the record and the seconds of each step."""
        prompt_tokens = self.tokenizer(CHAT.format(prompt), add_special_tokens=False).input_ids
        sequence, unread, cache, steps = prompt_tokens, prompt_tokens, None, []
        while len(steps) < self.options.tokens:
            start = time.perf_counter()
            step, cache = self.step(sequence, len(prompt_tokens), unread, cache)
            steps.append(step | {"seconds": time.perf_counter() - start})
            print(f"\r\033[Kreference: token {len(steps)} of {self.options.tokens} took "
                  f"{steps[-1]['seconds']:.1f} s", end="", file=sys.stderr, flush=True)
            unread = [step["token"]]
            sequence = sequence + unread
            if self.options.cap and step["token"] in self.ends:
                break
        reward, text = self.rewards([self.judged(sequence, len(prompt_tokens), len(sequence))])
        return {"prompt": prompt, "prompt_tokens": prompt_tokens, "text": text[0],
                "reward": reward.item(), "steps": steps}


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="2 prompts, 8 tokens")
    parser.add_argument("--bare", action="store_true",
                        help="without the 200 tokens of rules that prompts begin with")
    parser.add_argument("--cap", action="store_true", help="rollouts end where the answer ends")
    parser.add_argument("--model", default=os.environ.get("TQ_MODEL"), help="GGUF file")
    parser.add_argument("--lora", default=ASSETS / "baseline_valence_dpo.gguf")
    parser.add_argument("--head", default=ASSETS / "valence_head.safetensors")
    parser.add_argument("--prompts", default=ASSETS / "prompts.test.jsonl")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--alpha", type=float, default=0.1)
    for name, value in ("limit", 3), ("tokens", 12), ("top-k", 10), ("horizon", 20):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.model is None:
        parser.error("no model: give --model or set TQ_MODEL")
    if options.quick:
        options.limit, options.tokens = 2, 8
    return options


@torch.inference_mode()
def main():
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    options = read_options()
    torch.set_num_threads(options.threads)
    reference = Reference(options)
    with open(options.prompts, encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in lines][:options.limit]
    if not options.bare:
        prompts = [PREAMBLE + prompt for prompt in prompts]
    reference.step([1, 2, 3], 3, [1, 2, 3], None)  # what the libraries do once is not timed
    answers = [reference.answer(prompt) for prompt in prompts]
    print("\r\033[K", end="", file=sys.stderr)
    settings = {key: str(value) if isinstance(value, Path) else value
                for key, value in vars(options).items()}
    settings |= {"torch": torch.__version__, "transformers": transformers.__version__}
    with open(options.results, "w", encoding="utf-8") as file:
        json.dump({"settings": settings, "answers": answers}, file, indent=1)


if __name__ == "__main__":
    main()
