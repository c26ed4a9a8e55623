#include <tq/tabular/bigram.hpp>

#include <algorithm>

#include "support/catch.hpp"
#include "support/message.hpp"

using tq::tabular::bigram_model;
using tq::test::message_of;

TEST_CASE("bigram_model: a row depends on the last token alone") {
    bigram_model model{{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}}, {2}};
    CHECK(model.vocab_size() == 3);
    CHECK(std::ranges::equal(model.end_tokens(), tq::token_list{2}));
    const tq::token_list a{1}, b{2, 0, 1}, c{1, 2};
    const std::vector<tq::token_view> sequences{a, b, c};
    const auto rows = model.next_logits(sequences);
    CHECK(rows.size() == 3);
    CHECK(std::ranges::equal(rows[0], std::vector<float>{3, 4, 5}));
    CHECK(std::ranges::equal(rows[1], std::vector<float>{3, 4, 5}));
    CHECK(std::ranges::equal(rows[2], std::vector<float>{6, 7, 8}));
}

TEST_CASE("bigram_model: tables and sequences that make no sense are refused in words") {
    const auto refusal = [](auto&& action) { return message_of<tq::invalid_option>(action); };
    CHECK(refusal([] { bigram_model{{}}; }) == "bigram_model: vocabulary = 0, must be >= 1 token");
    CHECK(refusal([] {
              bigram_model{{{0, 1}, {0}}};
          }) == "bigram_model: row size = 1, must be the number of rows, 2");
    CHECK(refusal([] {
              bigram_model{{{0}}, {1}};
          }) == "bigram_model: token = 1, must be in [0, 1)");

    bigram_model model{{{0, 1}, {2, 3}}};
    const tq::token_list outside{0, 2};
    const tq::token_view bad{outside}, empty{};
    CHECK(refusal([&] {
              (void)model.next_logits({&bad, 1});
          }) == "bigram_model: token = 2, must be in [0, 2)");
    CHECK(refusal([&] {
              (void)model.next_logits({&empty, 1});
          }) == "bigram_model: sequence size = 0, must be >= 1 token");
}
