#include <tq/rollout/engine.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <tq/kernels/argmax.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using requests_of = std::vector<tq::rollout_request>;

namespace {

const tq::token_list prompts[] = {{0}, {1, 2}, {2}, {3, 0, 1}, {4}};
const tq::token_list end_token{3};

/// Requests with different prompts, lengths and keys; some know the end token.
requests_of mixed_requests(std::size_t count) {
    requests_of requests;
    for (std::size_t i = 0; i < count; ++i)
        requests.push_back({.sequence = prompts[i % 5],
                            .max_tokens = i * 5 % 9,
                            .end_tokens = i % 3 ? tq::token_view{end_token} : tq::token_view{},
                            .key = tq::random_key{1}.fold_in(i)});
    return requests;
}

requests_of equal_requests(std::size_t count, std::size_t length) {
    requests_of requests = mixed_requests(count);
    for (tq::rollout_request& request : requests) {
        request.max_tokens = length;
        request.end_tokens = {};
    }
    return requests;
}

bool same(const tq::trajectory& a, const tq::trajectory& b) {
    return a.sequence == b.sequence && a.start == b.start && a.finished == b.finished;
}

std::vector<tq::trajectory> run(const requests_of& requests, std::size_t slots,
                                tq::sampling_rule rule = {}) {
    auto model = tq::test::random_bigram(5, 1);
    return tq::rollout_engine{model, rule, slots}.run(requests);
}

/// The sizes of the model calls.
std::vector<std::size_t> batches_of(const requests_of& requests, std::size_t slots) {
    tq::test::counting_policy model{tq::test::random_bigram(5, 1)};
    (void)tq::rollout_engine{model, {}, slots}.run(requests);
    return model.batches;
}

}  // namespace

TEST_CASE("rollout_engine: the number of slots changes no rollout") {
    const requests_of requests = mixed_requests(40);
    const auto reference = run(requests, 1);
    for (const std::size_t slots : {2U, 3U, 7U, 64U, 0U}) {
        const auto rollouts = run(requests, slots);
        CHECK(std::ranges::equal(rollouts, reference, same));
    }
}

TEST_CASE("rollout_engine: the order of the requests changes no rollout") {
    const requests_of requests = mixed_requests(40);
    const auto reference = run(requests, 3);
    for (const std::size_t stride : {7U, 11U, 39U}) {
        requests_of shuffled;
        for (std::size_t i = 0; i < 40; ++i) shuffled.push_back(requests[i * stride % 40]);
        const auto rollouts = run(shuffled, 3);
        for (std::size_t i = 0; i < 40; ++i) CHECK(same(rollouts[i], reference[i * stride % 40]));
    }
}

TEST_CASE("rollout_engine: rollouts begin with their request and keep to its limit") {
    const requests_of requests = mixed_requests(40);
    const auto rollouts = run(requests, 4);
    std::size_t finished = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const tq::trajectory& rollout = rollouts[i];
        CHECK(rollout.start == requests[i].sequence.size());
        CHECK(std::ranges::equal(tq::token_view{rollout.sequence}.first(rollout.start),
                                 requests[i].sequence));
        CHECK(rollout.tokens().size() <= requests[i].max_tokens);
        CHECK((rollout.finished || rollout.tokens().size() == requests[i].max_tokens));
        finished += rollout.finished;
    }
    CHECK(finished > 5);  // both ends occur
    CHECK(finished < 35);
}

TEST_CASE("rollout_engine: a limit of 0 costs no call, a limit of n at most n tokens") {
    CHECK(batches_of(equal_requests(3, 0), 8).empty());
    CHECK(run(equal_requests(3, 0), 8)[1].sequence == prompts[1]);
    CHECK_FALSE(run(equal_requests(3, 0), 8)[1].finished);
    for (const std::size_t length : {1U, 2U, 6U})
        for (const tq::trajectory& rollout : run(equal_requests(4, length), 8))
            CHECK(rollout.tokens().size() == length);
    CHECK(run({}, 8).empty());
}

TEST_CASE("rollout_engine: an end token finishes a rollout and is left out") {
    tq::test::constant_policy model{{0, 0, 0, 50, 0}};  // token 3, always
    const tq::rollout_request ends{
        .sequence = prompts[0], .max_tokens = 4, .end_tokens = end_token, .key = tq::random_key{}};
    const tq::rollout_request goes_on{
        .sequence = prompts[0], .max_tokens = 4, .end_tokens = {}, .key = tq::random_key{}};
    const auto rollouts = tq::rollout_engine{model, {}}.run(requests_of{ends, goes_on});
    CHECK(rollouts[0].tokens().empty());
    CHECK(rollouts[0].finished);
    CHECK(std::ranges::equal(rollouts[1].tokens(), tq::token_list{3, 3, 3, 3}));
    CHECK_FALSE(rollouts[1].finished);
}

TEST_CASE("rollout_engine: an end token at the last allowed position still finishes") {
    tq::test::constant_policy model{{0, 0, 0, 50, 0}};
    const requests_of requests{{.sequence = prompts[0],
                                .max_tokens = 1,
                                .end_tokens = end_token,
                                .key = tq::random_key{}}};
    CHECK(tq::rollout_engine{model, {}}.run(requests)[0].finished);
}

TEST_CASE("rollout_engine: when all fit, there is one model call for each depth") {
    requests_of requests = equal_requests(6, 4);
    CHECK(batches_of(requests, 6) == std::vector<std::size_t>(4, 6));
    CHECK(batches_of(requests, 64) == std::vector<std::size_t>(4, 6));
    requests[2].max_tokens = 9;
    CHECK(batches_of(requests, 64) == std::vector<std::size_t>{6, 6, 6, 6, 1, 1, 1, 1, 1});
}

TEST_CASE("rollout_engine: with fewer slots every call is full while requests wait") {
    CHECK(batches_of(equal_requests(10, 4), 3) ==
          std::vector<std::size_t>{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1});
    const requests_of requests = mixed_requests(40);
    for (const std::size_t slots : {2U, 5U, 13U}) {
        const auto batches = batches_of(requests, slots);
        const auto first_partial = std::ranges::find_if(batches, [&](auto n) { return n < slots; });
        CHECK(std::is_sorted(first_partial, batches.end(), std::greater<>{}));
        CHECK(batches.end() - first_partial <= 8);  // the longest request
        std::size_t tokens = 0;
        for (const tq::trajectory& rollout : run(requests, slots))
            tokens += rollout.tokens().size() + rollout.finished;
        CHECK(std::accumulate(batches.begin(), batches.end(), std::size_t{0}) == tokens);
    }
}

TEST_CASE("rollout_engine: greedy rollouts follow the argmax, whatever the keys") {
    auto model = tq::test::random_bigram(5, 1);
    for (const tq::trajectory& rollout : run(equal_requests(10, 6), 4, {.temperature = 0}))
        for (std::size_t i = rollout.start; i < rollout.sequence.size(); ++i) {
            const tq::token_view before = tq::token_view{rollout.sequence}.first(i);
            CHECK(rollout.sequence[i] == tq::argmax(model.next_logits({&before, 1})[0]));
        }
}

TEST_CASE("rollout_engine: whole rollouts occur as often as enumeration says") {
    for (const double temperature : {1.0, 0.5}) {
        const tq::tabular::tree tree{3, 3, 1};
        const auto pi = tq::tabular::random_policy(tree, tq::random_key{7});
        tq::tabular::tree_policy model{tree, pi};
        auto sharpened = pi;
        for (double& x : sharpened) x /= temperature;
        const auto reach =
            tq::tabular::log_reach(tree, tq::tabular::normalise(tree, std::move(sharpened)));
        std::vector<double> probabilities(tree.size());
        for (std::size_t node = 0; node < tree.size(); ++node)
            if (tree.is_leaf(node)) probabilities[node] = std::exp(reach[node]);

        requests_of requests;
        for (std::size_t i = 0; i < 8000; ++i)
            requests.push_back({.sequence = prompts[0],
                                .max_tokens = 3,
                                .end_tokens = model.end_tokens(),
                                .key = tq::random_key{8}.fold_in(i)});
        std::vector<std::size_t> counts(tree.size());
        for (const tq::trajectory& rollout :
             tq::rollout_engine{model, {.temperature = temperature, .top_p = 1}}.run(requests))
            ++counts[tree.find(rollout.tokens(), rollout.finished)];
        CHECK(tq::test::chi_square(counts, probabilities).plausible());
    }
}

namespace {

/// Gives up every rollout that is not ended once `enough` have.
struct impatient {
    std::size_t enough;
    std::vector<std::size_t> told{};

    void ended(std::span<const std::size_t> which, std::span<const tq::trajectory> all) {
        for (const std::size_t i : which) {
            CHECK(all[i].sequence.size() >= all[i].start);
            told.push_back(i);
        }
    }
    [[nodiscard]] bool wanted(std::size_t) const { return told.size() < enough; }
};

}  // namespace

TEST_CASE("rollout_engine: an observer hears of every rollout once, when it ends") {
    const requests_of requests = mixed_requests(40);
    auto model = tq::test::random_bigram(5, 1);
    const std::vector<tq::trajectory> expected = tq::rollout_engine{model, {}, 7}.run(requests);
    impatient observer{1000};
    const auto actual = tq::rollout_engine{model, {}, 7}.run(requests, observer);
    CHECK(std::ranges::equal(actual, expected, same));
    std::ranges::sort(observer.told);
    REQUIRE(observer.told.size() == 40);
    for (std::size_t i = 0; i < 40; ++i) CHECK(observer.told[i] == i);
}

TEST_CASE("rollout_engine: what nobody wants any more takes no further call") {
    const requests_of requests = mixed_requests(40);
    tq::test::counting_policy model{tq::test::random_bigram(5, 1)};
    impatient observer{12};
    tq::rollout_engine engine{model, {}, 7};
    const auto done = engine.run(requests, observer);
    REQUIRE(done.size() == 40);
    CHECK(observer.told.size() >= 12);
    CHECK(observer.told.size() < 20);
    const auto calls = model.batches.size();
    static_cast<void>(tq::rollout_engine{model, {}, 7}.run(requests));
    CHECK(calls < model.batches.size() - calls);
    std::size_t rows = 0;
    for (const tq::trajectory& rollout : done) rows += rollout.rows;
    CHECK(rows == engine.stats().rows);
    CHECK(engine.stats().calls == calls);
    CHECK(engine.stats().in_flight == 7 * calls);
    CHECK(engine.stats().occupancy() > 0.5);
    CHECK(engine.stats().occupancy() <= 1);
}
