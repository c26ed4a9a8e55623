// Every instruction set this processor can run, each against plain loops and long double.
#include <tq/kernels/gumbel.hpp>
#include <tq/kernels/lanes.hpp>
#include <tq/kernels/top_k.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"

namespace kernel = tq::kernel_detail;
using kernel::lane_kernels;
using row_of = std::vector<float>;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();

std::vector<const lane_kernels*> runnable() {
    const lane_kernels* tables[3] = {};
    return {tables, tables + kernel::runnable_lanes(tables)};
}

/// A Gaussian bulk with a heavy right tail, as logits are.
row_of logits(std::size_t size, std::uint64_t seed, double spread = 3) {
    const tq::random_key key{seed};
    row_of row(size);
    for (std::size_t i = 0; i < size; ++i) {
        const double radius = std::sqrt(-2 * std::log(key.uniform(2 * i)));
        row[i] = static_cast<float>(spread * radius * std::cos(6.283185 * key.uniform(2 * i + 1)) +
                                    (i % 997 == 0 ? 15 * key.uniform(3 * i) : 0.0));
    }
    return row;
}

double error_of(const row_of& row, double temperature, const lane_kernels& lanes) {
    const long double exact = tq::test::slow_log_sum_exp(std::span<const float>{row}, temperature);
    return static_cast<double>(std::abs(kernel::fast_log_sum_exp(row, temperature, lanes) - exact));
}

}  // namespace

TEST_CASE("lanes: 4 floats always, and the widest first") {
    const auto tables = runnable();
    REQUIRE(!tables.empty());
    CHECK(tables.back()->lanes == 4);
    CHECK(tables.front() == &kernel::best_lanes());
    for (std::size_t i = 1; i < tables.size(); ++i) CHECK(tables[i - 1]->lanes > tables[i]->lanes);
}

TEST_CASE("lanes: block maxima leave NaN out and report it") {
    for (const auto* lanes : runnable())
        for (std::size_t where = 0; where < 256; ++where) {
            row_of row = logits(256, 1);
            const float expected[2] = {*std::max_element(row.begin(), row.begin() + 128),
                                       *std::max_element(row.begin() + 128, row.end())};
            float maxima[2];
            CHECK(!lanes->maxima_nan(row.data(), 2, maxima));
            CHECK((maxima[0] == expected[0] && maxima[1] == expected[1]));
            row[where] = not_a_number;
            CHECK(lanes->maxima_nan(row.data(), 2, maxima));
            CHECK(maxima[1 - where / 128] == expected[1 - where / 128]);
            row[where] = 100;
            lanes->maxima(row.data(), 2, maxima);
            CHECK(maxima[where / 128] == 100);
        }
}

TEST_CASE("lanes: the log-partition is within its bound of long double") {
    for (const auto* lanes : runnable())
        for (const std::size_t size : {1U, 128U, 2048U, 2049U, 5000U, 49152U})
            for (const double spread : {0.0, 1.0, 3.0, 30.0}) {
                const row_of row = logits(size, size, spread);
                INFO(lanes->lanes << " lanes, size " << size << ", spread " << spread);
                CHECK(error_of(row, 1, *lanes) <= tq::test::bound_of("log_sum_exp", "float"));
                for (const double temperature : {0.3, 0.7, 0.9, 1.7, 12.0})
                    CHECK(error_of(row, temperature, *lanes) <=
                          tq::test::bound_of("log_sum_exp", "float at other temperatures"));
            }
}

TEST_CASE("lanes: a reference far below the largest entry is moved") {
    for (const auto* lanes : runnable())
        for (const float rise : {10.0F, 41.0F, 43.0F, 90.0F, 200.0F, 3000.0F, 1e6F}) {
            row_of row = logits(9000, 3);
            row[5000] += rise;
            row[8999] += 2 * rise;
            INFO(lanes->lanes << " lanes, rise " << rise);
            const double relative =
                static_cast<double>(rise) * 1.2e-7;  // of the result as a double
            CHECK(error_of(row, 1, *lanes) <= 3e-7 + 1e-8 * relative);
        }
}

TEST_CASE("lanes: NaN and infinities in the log-partition, wherever they are") {
    for (const auto* lanes : runnable())
        for (const std::size_t where : {0U, 127U, 2047U, 2048U, 4999U}) {
            const auto partition = [&](const row_of& row) {
                return kernel::fast_log_sum_exp(row, 1, *lanes);
            };
            row_of row = logits(5000, 4);
            row[where] = inf;
            CHECK(partition(row) == HUGE_VAL);
            row[4000] = not_a_number;
            CHECK(std::isnan(partition(row)));
            row_of masked(5000, -inf);
            CHECK(partition(masked) == -HUGE_VAL);
            masked[where] = 2;
            CHECK(partition(masked) == 2);
            masked[where] = not_a_number;
            CHECK(std::isnan(partition(masked)));
        }
}

TEST_CASE("lanes: kth_bound is reached by k values and few more, and by pads only at the bottom") {
    for (const auto* lanes : runnable())
        for (const std::size_t size : {1U, 5U, 16U, 31U, 1002U})
            for (const double levels : {0.0, 2.0, 40.0})
                for (const std::size_t k : {1U, 2U, 10U, 40U, 100U, 1000U}) {
                    if (k > size) continue;
                    row_of values = logits(size, size + k);
                    if (levels > 0)
                        for (float& x : values) x = std::floor(x * static_cast<float>(levels) / 10);
                    if (k % 2 == 1)
                        for (std::size_t i = 0; i < size; i += 3) values[i] = -inf;
                    row_of sorted = values, room = values;
                    std::ranges::sort(sorted, std::greater{});
                    room.resize(size + 16);
                    const float bar = lanes->kth_bound(room.data(), size, k);
                    CHECK(bar <= sorted[k - 1]);
                    CHECK((k + k / 8 + 2 >= size || sorted[k + k / 8 + 2] < bar ||
                           bar == sorted[k - 1]));
                }
}

TEST_CASE("lanes: above finds what is above, in order") {
    for (const auto* lanes : runnable()) {
        row_of row = logits(160, 6);
        row[3] = inf, row[77] = not_a_number, row[78] = -inf;
        for (const float bar : {-inf, -2.0F, 0.0F, row[9], 5.0F, inf}) {
            std::vector<std::uint32_t> expected, found(160);
            for (std::uint32_t i = 0; i < 160; ++i)
                if (row[i] > bar) expected.push_back(i);
            found.resize(lanes->above(row.data(), 160, bar, found.data()));
            CHECK(found == expected);
        }
    }
}

TEST_CASE("lanes: top_k is that of a stable sort") {
    for (const auto* lanes : runnable())
        for (const std::size_t size : {100U, 1000U, 30000U, 300000U})
            for (const std::size_t k : {1U, 10U, 100U, 700U}) {
                const row_of row = logits(size, size);
                std::vector<tq::scored_token> all, best(std::min(k, size)), fused = best;
                for (std::size_t i = 0; i < size; ++i)
                    all.push_back({static_cast<tq::token_id>(i), row[i]});
                std::ranges::stable_sort(all, [](auto a, auto b) { return a.logit > b.logit; });
                all.resize(best.size());
                CHECK(kernel::top_k(row, best, *lanes) == best.size());
                CHECK(best == all);
                kernel::partition_sum sum{1, *lanes};
                CHECK(kernel::top_k_and_sum(row, fused, sum, *lanes) == best.size());
                CHECK(fused == all);
                CHECK(sum.value() == kernel::fast_log_sum_exp(row, 1, *lanes));
            }
}

TEST_CASE("lanes: one NaN in the fused scan hides nothing else, wherever it is") {
    for (const auto* lanes : runnable())
        for (std::size_t where = 0; where < 300; ++where) {
            row_of row = logits(300, 8);
            row[0] = 20, row[140] = 30, row[299] = 25;
            row[where] = not_a_number;
            std::vector<tq::scored_token> expected(6), best(6);
            kernel::top_k(row, expected, *lanes);
            kernel::partition_sum sum{1, *lanes};
            CHECK(kernel::top_k_and_sum(row, best, sum, *lanes) == 6);
            if (best != expected) FAIL_CHECK(lanes->lanes << " lanes, NaN at " << where);
            CHECK(std::isnan(sum.value()));
        }
}

TEST_CASE("lanes: the noise of a block is bounded from above, and hardly more") {
    const tq::gumbel_field field{tq::random_key{12}};
    for (const auto* lanes : runnable())
        for (const float scale : {1.0F, 0.01F}) {
            const std::size_t blocks = 64, first = 4096;
            const row_of row = logits(blocks * kernel::block_size, 7);
            std::vector<float> bounds(blocks);
            CHECK(!lanes->noise_maxima(row.data(), blocks, scale,
                                       {first, field.low(), field.high()}, bounds.data()));
            for (std::size_t b = 0; b < blocks; ++b) {
                double score = -HUGE_VAL, bound = -HUGE_VAL;
                for (std::size_t i = b * 128; i < (b + 1) * 128; ++i) {
                    const auto token = static_cast<tq::token_id>(first + i);
                    const double x = static_cast<double>(row[i] * scale);
                    score = std::max(score, x + field(token));
                    bound = std::max(
                        bound, x + static_cast<double>(kernel::noise_bound(field.hash(token))));
                }
                CHECK(static_cast<double>(bounds[b]) >= score - 1e-4);
                CHECK(std::abs(static_cast<double>(bounds[b]) - bound) < 1e-4);
                if (scale < 1) CHECK(bound - score < 0.2);
            }
        }
}

TEST_CASE("top_k_log_partition: top_k and log_sum_exp") {
    std::vector<row_of> rows;
    for (const std::size_t size : {0U, 1U, 7U, 500U, 3000U}) rows.push_back(logits(size, size));
    rows.push_back({1, -inf, not_a_number, 4});
    rows.push_back({1, inf, 2, inf});
    rows.push_back(row_of(300, -inf));
    rows.push_back({3e38F, 1, -3e38F});
    for (const double temperature : {1.0, 0.4, 1e-9, 1e9})
        for (const row_of& row : rows) {
            std::vector<tq::scored_token> expected(5), best(5);
            expected.resize(tq::top_k(row, expected));
            const auto result = tq::top_k_log_partition(row, best, temperature);
            best.resize(result.found);
            CHECK(best == expected);
            const double z = tq::log_sum_exp(tq::logits_view{row}, temperature);
            CHECK(
                (result.log_partition == z || (std::isnan(z) && std::isnan(result.log_partition))));
        }
}
