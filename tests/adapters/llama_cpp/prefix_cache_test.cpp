#include "support/catch.hpp"

#include <map>

#include <tq/adapters/llama_cpp/prefix_cache.hpp>
#include <tq/core/random.hpp>

#include "adapters/llama_cpp/random_traffic.hpp"

namespace detail = tq::llama_cpp::detail;
using tq::token_list;

namespace {

/// A KV cache by its contract: does the plan give every sequence the prefix that it promises?
struct pretend_cache {
    explicit pretend_cache(std::size_t slots) : cache{slots}, held(slots) {}

    /// Returns how many tokens are decoded.
    std::size_t run(const std::vector<token_list>& sequences) {
        const std::vector<tq::token_view> views{sequences.begin(), sequences.end()};
        const detail::cache_plan plan = cache.place(views);
        for (const detail::cache_step& step : plan.steps) {
            if (step.copy) {
                REQUIRE(held[step.slot].empty());
                REQUIRE(held[step.source].size() >= step.keep);
                held[step.slot] = held[step.source];
            }
            REQUIRE(held[step.slot].size() >= step.keep);
            held[step.slot].resize(step.keep);
        }
        std::size_t decoded = 0;
        std::map<std::size_t, int> uses;
        for (std::size_t i = 0; i < sequences.size(); ++i) {
            const auto [slot, cached] = plan.places[i];
            REQUIRE(++uses[slot] == 1);
            REQUIRE(cached < sequences[i].size());
            REQUIRE(held[slot] == token_list(sequences[i].begin(),
                                             sequences[i].begin() + static_cast<long>(cached)));
            held[slot] = sequences[i];
            decoded += sequences[i].size() - cached;
        }
        return decoded;
    }

    void trim(std::size_t whole, std::size_t prefixes = 0) {
        for (const detail::cache_step& cut : cache.trim(whole, prefixes)) {
            REQUIRE_FALSE(cut.copy);
            REQUIRE(held[cut.slot].size() > cut.keep);
            held[cut.slot].resize(cut.keep);
        }
    }

    detail::prefix_cache cache;
    std::vector<token_list> held;
};

}  // namespace

TEST_CASE("extensions stay in place, branches copy, repeats cost one token") {
    pretend_cache cache{4};
    REQUIRE(cache.run({{1, 2, 3}}) == 3);
    REQUIRE(cache.run({{1, 2, 3, 4}, {1, 2, 3, 5}}) == 2);
    REQUIRE(cache.run({{1, 2, 3, 4, 6}, {1, 2, 3, 5, 6}}) == 2);
    REQUIRE(cache.run({{1, 2, 3, 4, 6}}) == 1);
    REQUIRE(cache.run({{1, 2}}) == 1);
    REQUIRE(cache.run({{7, 8}}) == 2);
}

TEST_CASE("a full cache lets sequences take over what they branch from") {
    pretend_cache cache{2};
    REQUIRE(cache.run({{1, 2, 3, 4}, {5, 6, 7, 8}}) == 8);
    REQUIRE(cache.run({{1, 2, 9}, {5, 6, 9}}) == 2);
    REQUIRE(cache.run({{1, 2, 8}, {1, 2, 9}}) == 2);
    REQUIRE(cache.run({{5}, {6}}) == 2);
}

TEST_CASE("trim keeps the present call and the most recent prefixes") {
    pretend_cache cache{4};
    cache.run({{1, 2, 3, 4}});
    cache.run({{5, 6, 7, 8}});
    cache.run({{9}});
    cache.trim(4);
    REQUIRE(cache.run({{5, 6, 7, 8, 9}}) == 1);
    REQUIRE(cache.run({{1, 2, 3, 4, 5}}) == 5);
    cache.trim(0);
    REQUIRE(cache.run({{1, 2, 3, 4, 5, 6}}) == 1);
}

TEST_CASE("trim cuts the ends of old branches and keeps what they grew from") {
    pretend_cache cache{6};
    cache.run({{1, 2, 3}, {4, 5, 6}});                            // two prompts
    cache.run({{1, 2, 3, 7, 7}, {1, 2, 3, 8, 8}, {1, 2, 3, 9}});  // branches of the first
    cache.run({{4, 5, 6, 7}});
    cache.trim(0, 6);
    REQUIRE(cache.run({{1, 2, 3, 9, 9}, {4, 5, 6, 7, 8}}) ==
            3);  // the prompt is there, the 9 is not
    cache.run({{4, 5, 6, 7, 8, 9}});
    cache.trim(0, 1);  // a prompt that does not fit goes
    REQUIRE(cache.run({{1, 2, 3, 9, 9}}) == 5);
}

TEST_CASE("what is known without decoding counts as used") {
    pretend_cache cache{4};
    cache.run({{1, 2, 3, 4}});
    cache.run({{5, 6, 7, 8}});
    cache.run({{9}});
    cache.cache.touch(token_list{1, 2, 3});
    cache.run({{9, 9}});
    cache.trim(4);
    REQUIRE(cache.run({{1, 2, 3, 4, 5}}) == 1);
}

TEST_CASE("random traffic never promises a prefix that is not there") {
    pretend_cache cache{5};
    const tq::random_key key{7};
    for (std::uint64_t call = 0; call < 2000; ++call) {
        const tq::random_key at = key.fold_in(call);
        cache.run(tq::test::random_traffic(at, 5));
        if (at.bits(1) % 3 == 0) cache.trim(at.bits(2) % 8, at.bits(4) % 8);
        if (at.bits(3) % 50 == 0) cache.cache.clear(), cache.held.assign(5, {});
    }
}
