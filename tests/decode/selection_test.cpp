#include <tq/decode/selection.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/statistics.hpp"

using tq::selection;

namespace {

tq::tilted_distribution make(std::vector<tq::token_id> tokens, const std::vector<double>& p) {
    tq::tilted_distribution distribution;
    distribution.tokens = std::move(tokens);
    for (const double x : p) distribution.log_p.push_back(std::log(x));
    return distribution;
}

}  // namespace

TEST_CASE("select: argmax takes the most likely candidate, the first of equals, whatever the key") {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const tq::random_key key{seed};
        CHECK(tq::select(make({4, 7, 2}, {.2, .5, .3}), selection::argmax, key) == 1);
        CHECK(tq::select(make({4, 7, 2}, {.2, .4, .4}), selection::argmax, key) == 1);
    }
}

TEST_CASE("select: sampling follows the probabilities, and never takes an impossible candidate") {
    const std::vector<double> p{.05, .5, 0, .3, .15};
    const auto distribution = make({9, 4, 7, 2, 11}, p);
    std::vector<std::size_t> counts(p.size());
    for (std::uint64_t i = 0; i < 10'000; ++i)
        ++counts[tq::select(distribution, selection::sample, tq::random_key{3}.fold_in(i))];
    CHECK(counts[2] == 0);
    CHECK(tq::test::chi_square(counts, p).plausible());
}

TEST_CASE("select: the noise belongs to the token, not to its place among the candidates") {
    const auto one = make({9, 4, 7}, {.3, .4, .3}), other = make({7, 9, 4}, {.3, .3, .4});
    for (std::uint64_t i = 0; i < 300; ++i) {
        const tq::random_key key = tq::random_key{4}.fold_in(i);
        CHECK(one.tokens[tq::select(one, selection::sample, key)] ==
              other.tokens[tq::select(other, selection::sample, key)]);
    }
}

TEST_CASE("select: a candidate that is not picked can leave without changing the pick") {
    const auto all = make({9, 4, 7}, {.3, .4, .3}), fewer = make({9, 4}, {.3, .4});
    for (std::uint64_t i = 0; i < 300; ++i) {
        const tq::random_key key = tq::random_key{5}.fold_in(i);
        const std::size_t pick = tq::select(all, selection::sample, key);
        if (pick < 2) CHECK(tq::select(fewer, selection::sample, key) == pick);
    }
}
