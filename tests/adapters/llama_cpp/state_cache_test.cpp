#include "support/catch.hpp"

#include <algorithm>
#include <map>

#include <tq/adapters/llama_cpp/state_cache.hpp>
#include <tq/core/random.hpp>

#include "adapters/llama_cpp/random_traffic.hpp"

namespace detail = tq::llama_cpp::detail;
using tq::token_list;

namespace {

/// States by their contract: none is ever cut, and each target grows out of what the plan says.
struct pretend_states {
    explicit pretend_states(std::size_t slots) : cache{slots}, held(slots) {}

    /// Returns how many tokens are decoded.
    std::size_t run(std::vector<token_list> sequences) {
        std::sort(sequences.begin(), sequences.end());
        const std::vector<tq::token_view> views{sequences.begin(), sequences.end()};
        std::size_t decoded = 0;
        std::map<std::size_t, int> reached;
        for (const detail::state_round& round : cache.plan(views)) {
            for (const detail::cache_step& step : round.steps) carry_out(step);
            std::map<std::size_t, int> uses;
            for (const detail::state_target& target : round.targets) {
                REQUIRE(++uses[target.slot] == 1);
                REQUIRE(++reached[target.owner] == 1);
                REQUIRE(target.cached < target.tokens.size());
                const auto cached = target.tokens.first(target.cached);
                REQUIRE(held[target.slot] == token_list(cached.begin(), cached.end()));
                if (target.owner < views.size())
                    REQUIRE(std::ranges::equal(target.tokens, views[target.owner]));
                held[target.slot].assign(target.tokens.begin(), target.tokens.end());
                decoded += target.tokens.size() - target.cached;
            }
        }
        for (std::size_t i = 0; i < sequences.size(); ++i) REQUIRE(reached[i] == 1);
        return decoded;
    }

    void carry_out(const detail::cache_step& step) {
        if (step.copy) {
            REQUIRE(held[step.slot].empty());
            REQUIRE(held[step.source].size() == step.keep);
            held[step.slot] = held[step.source];
        } else {
            REQUIRE(step.keep == 0);
            held[step.slot].clear();
        }
    }

    detail::state_cache cache;
    std::vector<token_list> held;
};

token_list count_to(tq::token_id last) {
    token_list tokens;
    for (tq::token_id t = 1; t <= last; ++t) tokens.push_back(t);
    return tokens;
}

token_list with(token_list tokens, const token_list& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
    return tokens;
}

}  // namespace

TEST_CASE("a decode costs each new token once, and each chosen one once more") {
    pretend_states cache{8};
    const token_list prompt = count_to(40);
    const auto branches = [&](const token_list& state, const token_list& tail) {
        std::vector<token_list> sequences;
        for (tq::token_id c = 50; c < 53; ++c) sequences.push_back(with(with(state, {c}), tail));
        return sequences;
    };
    REQUIRE(cache.run({prompt}) == 40);
    REQUIRE(cache.run(branches(prompt, {})) == 3);
    REQUIRE(cache.run(branches(prompt, {7})) == 3);
    REQUIRE(cache.run(branches(prompt, {7, 8})) == 3);
    const token_list next = with(prompt, {51});
    REQUIRE(cache.run(branches(next, {})) == 4);
    REQUIRE(cache.run(branches(next, {7})) == 3);
    REQUIRE(cache.run(branches(with(next, {50}), {})) == 4);
    REQUIRE(cache.run({with(prompt, {60})}) == 1);  // the prompt's own state was not taken over
}

TEST_CASE("what sequences have in common is decoded once, however deep they branch") {
    pretend_states cache{8};
    REQUIRE(cache.run({{1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 6}, {1, 2}}) == 6);
    REQUIRE(cache.run({{1, 2, 7}, {1, 2, 3, 8}}) == 2);
}

TEST_CASE("a state that went on cannot be gone back to, but for a copy now and then") {
    pretend_states cache{4};
    REQUIRE(cache.run({count_to(10)}) == 10);
    REQUIRE(cache.run({count_to(11)}) == 1);
    REQUIRE(cache.run({with(count_to(10), {99})}) == 11);
    pretend_states longer{4};
    for (tq::token_id size = 10; size <= 60; size += 5) longer.run({count_to(size)});
    REQUIRE(longer.run({with(count_to(58), {99})}) == 59 - 35);
}

TEST_CASE("without slots to spare the last one takes over what all grow out of") {
    pretend_states cache{2};
    REQUIRE(cache.run({{1, 2, 3}}) == 3);
    REQUIRE(cache.run({{1, 2, 3, 4}, {1, 2, 3, 5}}) == 2);
    REQUIRE(cache.run({{1, 2, 3, 4, 6}, {1, 2, 3, 5, 6}}) == 2);
}

TEST_CASE("trim empties the states that were not used of late") {
    pretend_states cache{4};
    cache.run({{1, 2, 3}});
    cache.run({{4, 5, 6}});
    cache.run({{7}});
    REQUIRE(cache.cache.trim(7).empty());
    for (const detail::cache_step& step : cache.cache.trim(4)) cache.carry_out(step);
    REQUIRE(cache.run({{4, 5, 6, 7}}) == 1);
    REQUIRE(cache.run({{1, 2, 3, 4}}) == 4);
}

TEST_CASE("random traffic never grows out of a state that is not there") {
    const tq::random_key key{7};
    for (const std::size_t slots : {1U, 2U, 5U, 9U}) {
        pretend_states cache{slots};
        for (std::uint64_t call = 0; call < 1000; ++call) {
            const tq::random_key at = key.fold_in(slots).fold_in(call);
            cache.run(tq::test::random_traffic(at, slots));
            if (at.bits(1) % 3 == 0)
                for (const detail::cache_step& step : cache.cache.trim(at.bits(2) % 12))
                    cache.carry_out(step);
        }
    }
}
