#!/usr/bin/env python3
"""PyTorch on one thread, on the same rows as benchmarks/kernels.cpp: topk + log_softmax, and
multinomial on the softmax. Microseconds per row, the best of the rounds."""
import argparse
import json
import time

import numpy as np
import torch


def mixed(x):
    x = x.astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def make_row(size, number):
    """The row fill_row() makes, number by number."""
    index = np.arange(size, dtype=np.uint32) * np.uint32(8)
    offset = np.uint32(number * 0x9E3779B9 & 0xFFFFFFFF)
    total = np.zeros(size, dtype=np.uint64)
    for j in range(6):
        h = mixed(index + np.uint32(j) + offset)
        total += (h & np.uint32(0xFFFF)) + (h >> np.uint32(16))
    row = ((total / 65536.0 - 6.0) * 2.5).astype(np.float32)
    start = np.uint32(number * 0x85EBCA6B & 0xFFFFFFFF)
    for j, where in enumerate(mixed(np.arange(50, dtype=np.uint32) + start) % np.uint32(size)):
        row[where] += np.float32(10.0 + j * 0.125)
    return row


def best_of(rounds, rows, function):
    best = float("inf")
    for _ in range(rounds):
        function(rows[0])
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < 0.003:
            function(rows[calls % len(rows)])
            calls += 1
        best = min(best, (time.perf_counter() - start) / calls)
    return best * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="V = 49,152 and 128,256, k = 10")
    parser.add_argument("--no-model", action="store_true", help="no meaning here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    results = {}
    vocabularies = (49152, 128256) if options.quick else (32000, 49152, 128256, 152064, 262144)
    with np.errstate(over="ignore"), torch.inference_mode():
        for size in vocabularies:
            arrays = [make_row(size, number) for number in range(64)]
            wide = arrays[0].astype(np.float64)
            top = wide.max()
            cell = {"log_sum_exp": float(top + np.log(np.exp(wide - top).sum()))}
            for name, rows in ("1", arrays[:1]), ("64", arrays):
                rows = [torch.from_numpy(row) for row in rows]
                cell[name] = {"sample": best_of(9, rows, lambda x: torch.multinomial(
                    torch.softmax(x, 0), 1))}
                for k in (10,) if options.quick else (10, 40, 100):
                    cell[name][f"topk_{k}"] = best_of(9, rows, lambda x: (
                        torch.topk(x, k), torch.log_softmax(x, 0)))
            results[str(size)] = cell
    with open(options.results, "w") as file:
        json.dump(results, file)


main()
