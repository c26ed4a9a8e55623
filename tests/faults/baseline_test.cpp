// Baselines that write nothing.

#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include "support/answers.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"

using tq::token_list;

namespace {

const std::vector<token_list> prompts{{0}, {1, 2}, {4, 4, 4}};

/// Likes answers with many different neighbours.
double changes(tq::token_view, tq::token_view answer) {
    double count = 0;
    for (std::size_t i = 1; i < answer.size(); ++i) count += answer[i] != answer[i - 1];
    return count;
}

/// Ends every answer at once.
tq::test::constant_policy ends_at_once() {
    return tq::test::constant_policy{{-9, -9, -9, -9, -9, 9}};
}

/// Returns every request as it came.
struct silent_completer {
    bool finished;
    [[nodiscard]] std::vector<tq::trajectory> complete(
        std::span<const tq::rollout_request> requests, tq::sampling_rule) const {
        std::vector<tq::trajectory> rollouts;
        for (const tq::rollout_request& request : requests)
            rollouts.push_back({.sequence = {request.sequence.begin(), request.sequence.end()},
                                .start = request.sequence.size(),
                                .finished = finished});
        return rollouts;
    }
};

template <class Value>
std::vector<token_list> decode(Value value) {
    tq::decoder decode{tq::test::random_bigram(6, 1, {5}),
                       std::move(value),
                       {.alpha = 0.5, .top_k = 4, .seed = 3}};
    auto answers = decode.generate_all(prompts, 6);
    while (!answers.advance().empty()) continue;
    return tq::test::answers_of(answers);
}

}  // namespace

TEST_CASE("faults: a baseline that writes no token leaves the reward of what is there") {
    const auto expected = decode(tq::direct_transfer{ends_at_once(), changes, {.horizon = 0}});
    for (const std::size_t rollouts : {std::size_t{1}, std::size_t{4}}) {
        const tq::rollout_options options{
            .horizon = 4, .rollouts = rollouts, .sampling = {.temperature = 1}};
        CHECK(decode(tq::direct_transfer{ends_at_once(), changes, options}) == expected);
        for (const bool finished : {true, false})
            CHECK(decode(tq::direct_transfer{silent_completer{finished}, changes, options}) ==
                  expected);
    }
}
