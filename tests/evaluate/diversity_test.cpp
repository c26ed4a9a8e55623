// Repetition and diversity: against counting by hand, and against the plain definition.

#include <tq/evaluate/diversity.hpp>

#include <cmath>
#include <set>
#include <vector>

#include <tq/core/random.hpp>
#include "support/catch.hpp"
#include "support/statistics.hpp"

using tq::test::close;

namespace {

double plain_repetition(const tq::token_list& text, std::size_t n) {
    std::set<std::vector<tq::token_id>> unique;
    std::size_t all = 0;
    for (std::size_t i = 0; i + n <= text.size(); ++i, ++all)
        unique.insert({text.begin() + static_cast<std::ptrdiff_t>(i),
                       text.begin() + static_cast<std::ptrdiff_t>(i + n)});
    return all == 0 ? 0 : 1 - static_cast<double>(unique.size()) / static_cast<double>(all);
}

}  // namespace

TEST_CASE("repetition: by hand") {
    const tq::token_list text{1, 2, 1, 2, 1};  // bigrams 12 21 12 21: two of four are new
    CHECK(tq::repetition(text, 1) == 1 - 2.0 / 5);
    CHECK(tq::repetition(text, 2) == 0.5);
    CHECK(close(tq::repetition(text, 3), 1 - 2.0 / 3, 1e-15));  // 121 212 121
    CHECK(tq::repetition(text, 4) == 0);
    CHECK(tq::repetition(text, 6) == 0);
    CHECK(tq::repetition({}, 2) == 0);
    CHECK(close(tq::diversity(text), 0.5 * 2.0 / 3, 1e-15));
    CHECK(tq::diversity(tq::token_list{4, 3, 2, 1}) == 1);
    CHECK(tq::diversity({}) == 1);
}

TEST_CASE("repetition: of random texts it is the plain definition's") {
    for (std::uint64_t number = 0; number < 200; ++number) {
        const tq::random_key key{number};
        tq::token_list text;
        for (std::uint64_t i = 0; i < number % 40; ++i)
            text.push_back(static_cast<tq::token_id>(key.bits(i) % (2 + number % 5)));
        for (const std::size_t n : {1U, 2U, 3U, 4U})
            if (!close(tq::repetition(text, n), plain_repetition(text, n), 1e-15))
                FAIL("text " << number << ", n " << n);
    }
}

TEST_CASE("distinct: over all texts, n-grams do not cross from one to the next") {
    const tq::token_list a{1, 2}, b{1, 2}, c{2, 3};
    const std::vector<tq::token_view> texts{a, b, c};
    CHECK(close(tq::distinct(texts, 1), 0.5, 1e-15));
    CHECK(close(tq::distinct(texts, 2), 2.0 / 3, 1e-15));
    CHECK(std::isnan(tq::distinct(texts, 3)));
    CHECK(std::isnan(tq::distinct({}, 1)));
}
