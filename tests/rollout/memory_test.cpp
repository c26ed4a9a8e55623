#include <tq/rollout/memory.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"

using tq::token_list;

namespace {

tq::trajectory rollout(token_list sequence, std::size_t start, bool finished) {
    return {.sequence = std::move(sequence), .start = start, .finished = finished};
}

token_list known(const tq::rollout_memory& memory, const token_list& sequence) {
    const tq::token_view tokens = memory.recall(sequence).tokens;
    return {tokens.begin(), tokens.end()};
}

}  // namespace

TEST_CASE("rollout_memory: knows the rest of a rollout from any point after its start") {
    tq::rollout_memory memory;
    memory.remember(rollout({0, 1, 2, 3, 4}, 2, false));
    CHECK(known(memory, {0, 1}) == token_list{2, 3, 4});
    CHECK(known(memory, {0, 1, 2}) == token_list{3, 4});
    CHECK(known(memory, {0, 1, 2, 3, 4}).empty());
    CHECK(known(memory, {0}).empty());        // before its start the tokens were not greedy
    CHECK(known(memory, {0, 1, 3}).empty());  // another branch
    CHECK(known(memory, {5, 1, 2}).empty());  // another prompt
    CHECK_FALSE(memory.recall(token_list{0, 1}).finished);
}

TEST_CASE("rollout_memory: prefers the longest, and one that is finished") {
    tq::rollout_memory memory;
    memory.remember(rollout({0, 1, 2}, 1, false));
    memory.remember(rollout({0, 1, 2, 3}, 2, true));
    memory.remember(rollout({0, 1}, 1, false));
    CHECK(known(memory, {0, 1}) == token_list{2, 3});
    CHECK(memory.recall(token_list{0, 1}).finished);
}

TEST_CASE("rollout_memory: drops the oldest beyond its capacity, and all on forget") {
    tq::rollout_memory memory{2};
    memory.remember(rollout({0, 1}, 1, false));
    memory.remember(rollout({1, 2}, 1, false));
    memory.remember(rollout({2, 3}, 1, false));
    CHECK(known(memory, {0}).empty());
    CHECK(known(memory, {2}) == token_list{3});
    memory.forget();
    CHECK(known(memory, {2}).empty());
}

TEST_CASE("rollout_memory: a rollout is known where the same tokens end answers") {
    tq::rollout_memory memory;
    const token_list seven{7}, eight{8}, sequence{0};
    memory.remember(rollout({0, 1, 2}, 1, true), seven);
    memory.remember(rollout({0, 3, 2}, 1, true), eight);
    CHECK(std::ranges::equal(memory.recall(sequence, seven).tokens, token_list{1, 2}));
    CHECK(std::ranges::equal(memory.recall(sequence, eight).tokens, token_list{3, 2}));
    CHECK_FALSE(memory.recall(sequence).found);
    for (tq::token_id end = 100; end < 1000; ++end)  // it does not grow without end
        memory.remember(rollout({0, 1, 2}, 1, true), token_list{end});
    CHECK_FALSE(memory.recall(sequence, seven).found);
    CHECK(memory.recall(sequence, token_list{999}).found);
}

TEST_CASE("run_remembered_rollouts: two sets of end tokens in one call do not mix") {
    std::size_t compared = 0;
    for (std::uint64_t number = 0; number < 50; ++number) {
        tq::tabular::bigram_model model = tq::test::random_bigram(5, number);
        const token_list two{2}, three{3};
        std::vector<token_list> branches;
        for (tq::token_id z = 0; z < 5; ++z) branches.push_back({0, z});
        std::vector<tq::rollout_request> requests;
        for (const token_list* ends : {&two, &three})
            for (const token_list& branch : branches)
                requests.push_back({.sequence = branch, .max_tokens = 7, .end_tokens = *ends});
        tq::rollout_memory memory;
        const tq::sampling_rule greedy{.temperature = 0};
        static_cast<void>(tq::run_remembered_rollouts(model, requests, greedy, memory));
        const auto again = tq::run_remembered_rollouts(model, requests, greedy, memory);
        const auto plain = tq::run_rollouts(model, requests, greedy);
        for (std::size_t i = 0; i < plain.size(); ++i, ++compared)
            if (again[i].sequence != plain[i].sequence || again[i].finished != plain[i].finished)
                FAIL("world " << number << ", request " << i);
    }
    CHECK(compared == 500);
}

TEST_CASE("run_remembered_rollouts: the trajectories are those of run_rollouts, at fewer tokens") {
    const token_list end{4};
    const tq::sampling_rule rule{.temperature = 0};
    std::size_t fresh_tokens = 0, kept_tokens = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        tq::test::counting_policy fresh{tq::test::random_bigram(6, seed)};
        tq::test::counting_policy kept{tq::test::random_bigram(6, seed)};
        tq::rollout_memory memory;
        token_list state{0};
        for (std::size_t step = 0; step < 6; ++step) {
            std::vector<token_list> branches;
            for (tq::token_id z = 0; z < 4; ++z) {
                branches.push_back(state);
                branches.back().push_back(z);
            }
            std::vector<tq::rollout_request> requests;
            for (std::size_t z = 0; z < 4; ++z)  // limits grow, shrink and are 0 at times
                requests.push_back({.sequence = branches[z],
                                    .max_tokens = (seed + step * 3) % 5,
                                    .end_tokens = end,
                                    .key = tq::random_key{seed % 2}});
            const auto expected = tq::run_rollouts(fresh, requests, rule);
            const auto actual = tq::run_remembered_rollouts(kept, requests, rule, memory);
            REQUIRE(actual.size() == expected.size());
            for (std::size_t i = 0; i < expected.size(); ++i) {
                CHECK(actual[i].sequence == expected[i].sequence);
                CHECK(actual[i].start == expected[i].start);
                CHECK(actual[i].finished == expected[i].finished);
                CHECK(actual[i].known <= actual[i].tokens().size());
                kept_tokens += actual[i].rows;
            }
            state = branches[(seed + step) % 4];
        }
        for (const std::size_t size : fresh.batches) fresh_tokens += size;
        for (const std::size_t size : kept.batches) kept_tokens -= size;
    }
    CHECK(kept_tokens == 0);  // rows are counted as the model sees them
    CHECK(fresh_tokens > 0);
}

TEST_CASE("run_remembered_rollouts: after a choice the chosen rollout costs nothing") {
    tq::test::counting_policy model{tq::test::random_bigram(6, 3)};
    tq::rollout_memory memory;
    const token_list prompt{0};
    const tq::rollout_request first{.sequence = prompt, .max_tokens = 8, .end_tokens = {}};
    const tq::sampling_rule rule{.temperature = 0};
    const auto rollout = tq::run_remembered_rollouts(model, {&first, 1}, rule, memory).front();
    model.batches.clear();
    token_list chosen = prompt;
    chosen.push_back(rollout.sequence[1]);
    const tq::rollout_request next{.sequence = chosen, .max_tokens = 7, .end_tokens = {}};
    const auto again = tq::run_remembered_rollouts(model, {&next, 1}, rule, memory).front();
    CHECK(again.sequence == rollout.sequence);
    CHECK(again.known == 7);
    CHECK(again.rows == 0);
    CHECK(model.batches.empty());
}
