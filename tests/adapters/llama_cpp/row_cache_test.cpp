#include "support/catch.hpp"

#include <tq/adapters/llama_cpp/row_cache.hpp>

using tq::token_list;
using tq::llama_cpp::detail::row_cache;

namespace {

float first_of(row_cache& cache, const token_list& sequence) {
    const auto row = cache.find(sequence);
    return row ? row->front() : -1.0F;
}

void keep(row_cache& cache, const token_list& sequence, float value) {
    const std::vector<float> row{value, value};
    cache.keep(sequence, row);
}

}  // namespace

TEST_CASE("the rows used least recently make room") {
    row_cache cache{2};
    cache.begin();
    REQUIRE(first_of(cache, {1}) == -1);
    keep(cache, {1}, 10);
    keep(cache, {1, 2}, 20);
    cache.begin();
    REQUIRE(first_of(cache, {1}) == 10);
    keep(cache, {1, 3}, 30);
    REQUIRE(first_of(cache, {1, 2}) == -1);
    REQUIRE(first_of(cache, {1}) == 10);
    REQUIRE(first_of(cache, {1, 3}) == 30);
    cache.clear();
    REQUIRE(first_of(cache, {1}) == -1);
}

TEST_CASE("what the present call uses stays") {
    row_cache cache{1};
    cache.begin();
    keep(cache, {7}, 1);
    const std::vector<float> row{2};
    REQUIRE_FALSE(cache.keep(token_list{8}, row));
    REQUIRE(first_of(cache, {7}) == 1);
    cache.begin();
    REQUIRE(cache.keep(token_list{8}, row));
    REQUIRE(first_of(cache, {7}) == -1);
}

TEST_CASE("without places nothing is kept") {
    row_cache cache{0};
    cache.begin();
    const std::vector<float> row{2};
    REQUIRE_FALSE(cache.keep(token_list{8}, row));
    REQUIRE_FALSE(cache.find(token_list{8}));
}
