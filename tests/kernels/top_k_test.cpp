#include <tq/kernels/top_k.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"

using tq::scored_token;
using entries = std::vector<scored_token>;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();

entries top_k(tq::logits_view row, std::size_t k) {
    entries best(k, scored_token{-7, -7});
    best.resize(tq::top_k(row, best));
    return best;
}

/// The reference: everything possible in order, cut to k.
entries slow_top_k(tq::logits_view row, std::size_t k) {
    entries all;
    for (std::size_t i = 0; i < row.size(); ++i)
        if (row[i] > -inf) all.push_back({static_cast<tq::token_id>(i), row[i]});
    std::ranges::stable_sort(all, [](auto a, auto b) { return a.logit > b.logit; });
    all.resize(std::min(k, all.size()));
    return all;
}

/// Random rows; `levels` different values, so that there are many ties; 0 = no rounding.
std::vector<float> tied_row(std::size_t size, std::uint64_t seed, double levels) {
    std::vector<float> row = tq::test::random_row<float>(size, seed, -5, 5);
    if (levels > 0)
        for (float& x : row) x = static_cast<float>(std::floor(x * levels / 10));
    return row;
}

}  // namespace

TEST_CASE("top_k: the same as a stable sort, with few, many and only ties") {
    for (const std::size_t size : {1U, 2U, 17U, 255U, 256U, 257U, 1000U, 2600U})
        for (const double levels : {0.0, 3.0, 50.0})
            for (const std::size_t k :
                 {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{10}, std::size_t{64},
                  std::size_t{1024}, size - 1, size, size + 5}) {
                const std::vector<float> row = tied_row(size, size, levels);
                INFO("size " << size << ", levels " << levels << ", k " << k);
                CHECK(top_k(row, k) == slow_top_k(row, k));
            }
}

TEST_CASE("top_k: the same as a stable sort on a row of a real model's size") {
    for (const std::size_t k : {1U, 10U, 64U, 1024U}) {
        const std::vector<float> row = tied_row(128256, k, 5000);
        CHECK(top_k(row, k) == slow_top_k(row, k));
    }
}

TEST_CASE("top_k: rising rows, where every entry is better than all before") {
    std::vector<float> row(700);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i);
    CHECK(top_k(row, 3) == entries{{699, 699}, {698, 698}, {697, 697}});
    std::ranges::reverse(row);
    CHECK(top_k(row, 3) == entries{{0, 699}, {1, 698}, {2, 697}});
}

TEST_CASE("top_k: NaN and -inf are never returned") {
    for (const std::size_t size : {5U, 16U, 300U, 1000U})
        for (const std::uint64_t every : {2U, 3U}) {
            std::vector<float> row = tied_row(size, size + every, 20);
            for (std::size_t i = 0; i < size; i += every) row[i] = i % 4 == 0 ? not_a_number : -inf;
            for (const std::size_t k : {std::size_t{1}, std::size_t{10}, size})
                CHECK(top_k(row, k) == slow_top_k(row, k));
        }
    CHECK(top_k(std::vector<float>(300, not_a_number), 4).empty());
    CHECK(top_k(std::vector<float>(300, -inf), 4).empty());
}

TEST_CASE("top_k: one NaN anywhere hides nothing else") {
    for (const std::size_t size : {3U, 16U, 19U, 259U})
        for (std::size_t where = 0; where < size; ++where) {
            std::vector<float> row = tied_row(size, where, 0);
            row[where] = not_a_number;
            if (top_k(row, 2) != slow_top_k(row, 2)) FAIL("size " << size << ", NaN at " << where);
        }
    SUCCEED();
}

TEST_CASE("top_k: +inf ranks first") {
    std::vector<float> row = tied_row(600, 1, 0);
    row[500] = row[100] = inf;
    CHECK(top_k(row, 2) == entries{{100, inf}, {500, inf}});
}

TEST_CASE("top_k: no room or no row, no result") {
    CHECK(top_k(std::vector<float>{1, 2}, 0).empty());
    CHECK(top_k({}, 3).empty());
}

TEST_CASE("top_k: only as many entries as there are get written") {
    const std::vector<float> row{1, -inf, 3};
    entries best(4, scored_token{-7, -7});
    CHECK(tq::top_k(row, best) == 2);
    CHECK(best[0] == scored_token{2, 3});
    CHECK(best[1] == scored_token{0, 1});
    CHECK(best[2] == scored_token{-7, -7});
}

TEST_CASE("top_k: a row that is not aligned gives the same") {
    const std::vector<float> row = tied_row(900, 8, 0);
    for (std::size_t skip = 1; skip < 8; ++skip) {
        const auto part = tq::logits_view{row}.subspan(skip);
        CHECK(top_k(part, 20) == slow_top_k(part, 20));
    }
}
