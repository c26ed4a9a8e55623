#pragma once
// Short sequences over two tokens, of which many begin alike: calls for caches.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tq/core/random.hpp>
#include <tq/core/token.hpp>
#include <vector>

namespace tq::test {

/// 1 to `most` distinct sequences of 1 to 6 tokens, sorted; uses at.bits(0) and from 10 on.
inline std::vector<token_list> random_traffic(random_key at, std::size_t most) {
    std::vector<token_list> sequences;
    for (std::uint64_t i = 0; i < 1 + at.bits(0) % most; ++i) {
        token_list sequence;
        for (std::uint64_t t = 0; t < 1 + at.bits(10 + i) % 6; ++t)
            sequence.push_back(static_cast<token_id>(at.bits(100 + 10 * i + t) % 2));
        sequences.push_back(sequence);
    }
    std::sort(sequences.begin(), sequences.end());
    sequences.erase(std::unique(sequences.begin(), sequences.end()), sequences.end());
    return sequences;
}

}  // namespace tq::test
