#include <tq/concepts/policy.hpp>

#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/policies.hpp"

namespace {

using rows = std::span<const tq::logits_view>;
using sequences = std::span<const tq::token_view>;

struct smallest {
    std::size_t vocab_size() { return 1; }
    rows next_logits(sequences) { return {}; }
};
struct in_vectors {  // an int and a vector that stays convert
    int vocab_size() const { return 1; }
    const std::vector<tq::logits_view>& next_logits(sequences) { return rows_; }
    std::vector<tq::logits_view> rows_{};
};
struct in_vectors_of_its_own {  // const throughout
    [[nodiscard]] int vocab_size() const { return 1; }
    [[nodiscard]] const std::vector<tq::logits_view>& next_logits(sequences) const { return rows_; }
    std::vector<tq::logits_view> rows_{};
};
struct in_passing_vectors {  // the rows would be gone before they are read
    int vocab_size() const { return 1; }
    std::vector<tq::logits_view> next_logits(sequences) { return {}; }
};
struct no_vocab_size {
    rows next_logits(sequences) { return {}; }
};
struct text_vocab_size {
    const char* vocab_size() { return ""; }
    rows next_logits(sequences) { return {}; }
};
struct no_next_logits {
    std::size_t vocab_size() { return 1; }
};
struct one_sequence {
    std::size_t vocab_size() { return 1; }
    tq::logits_view next_logits(tq::token_view) { return {}; }
};
struct one_row {
    std::size_t vocab_size() { return 1; }
    tq::logits_view next_logits(sequences) { return {}; }
};
struct rows_of_double {
    std::size_t vocab_size() { return 1; }
    std::span<const std::span<const double>> next_logits(sequences) { return {}; }
};

struct with_extras : smallest {
    [[nodiscard]] std::array<tq::token_id, 2>& end_tokens() const { return ends; }
    [[nodiscard]] std::size_t max_batch() const { return 3; }
    static inline std::array<tq::token_id, 2> ends{4, 5};
};
struct with_other_extras : smallest {  // a reference, a static function, a signed number
    [[nodiscard]] static const tq::token_list& end_tokens() {
        static const tq::token_list ends{6};
        return ends;
    }
    [[nodiscard]] static int max_batch() { return 5; }
};
class with_private_extras : public smallest {  // nobody's business
    [[nodiscard]] static int end_tokens() { return 1; }
    [[nodiscard]] static const char* max_batch() { return ""; }
};

}  // namespace

TEST_CASE("policy: the models of this library and minimal models are accepted") {
    STATIC_REQUIRE(tq::policy<smallest>);
    STATIC_REQUIRE(tq::policy<in_vectors>);
    STATIC_REQUIRE(tq::policy<tq::tabular::bigram_model>);
    STATIC_REQUIRE(tq::policy<tq::test::constant_policy>);
    STATIC_REQUIRE(tq::policy<smallest&>);
    STATIC_REQUIRE(tq::explain_policy<smallest>());
    STATIC_REQUIRE(tq::explain_policy<const in_vectors_of_its_own>());
    STATIC_REQUIRE(tq::explain_policy<with_extras>());
    STATIC_REQUIRE(tq::explain_policy<with_other_extras>());
    STATIC_REQUIRE(tq::explain_policy<with_private_extras>());
}

TEST_CASE("policy: nearly-right models are rejected") {
    STATIC_REQUIRE_FALSE(tq::policy<in_passing_vectors>);
    STATIC_REQUIRE_FALSE(tq::policy<no_vocab_size>);
    STATIC_REQUIRE_FALSE(tq::policy<text_vocab_size>);
    STATIC_REQUIRE_FALSE(tq::policy<no_next_logits>);
    STATIC_REQUIRE_FALSE(tq::policy<one_sequence>);
    STATIC_REQUIRE_FALSE(tq::policy<one_row>);
    STATIC_REQUIRE_FALSE(tq::policy<rows_of_double>);
    STATIC_REQUIRE_FALSE(tq::policy<int>);
    STATIC_REQUIRE_FALSE(tq::policy<smallest*>);
    STATIC_REQUIRE_FALSE(tq::policy<const smallest>);  // its members are not const
}

TEST_CASE("end_tokens_of: what the model states, else none") {
    CHECK(std::ranges::equal(tq::end_tokens_of(with_extras{}), tq::token_list{4, 5}));
    CHECK(tq::end_tokens_of(smallest{}).empty());
    CHECK(std::ranges::equal(tq::end_tokens_of(with_other_extras{}), tq::token_list{6}));
    CHECK(tq::end_tokens_of(with_private_extras{}).empty());
}

TEST_CASE("max_batch_of: what the model states, else 64") {
    CHECK(tq::max_batch_of(with_extras{}) == 3);
    CHECK(tq::max_batch_of(smallest{}) == 64);
    CHECK(tq::max_batch_of(with_other_extras{}) == 5);
    CHECK(tq::max_batch_of(with_private_extras{}) == 64);
}

TEST_CASE("max_batch_of: a model that says 0 still gets one sequence a call") {
    struct shy : tq::test::constant_policy {
        shy() : constant_policy{{0.0F}} {}
        [[nodiscard]] std::size_t max_batch() const { return 0; }
    };
    CHECK(tq::max_batch_of(shy{}) == 1);
}

TEST_CASE("usable_policy: what it is if it is a policy") {
    STATIC_REQUIRE(std::is_same_v<tq::detail::usable_policy<smallest&>, smallest&>);
    STATIC_REQUIRE(std::is_same_v<tq::detail::usable_policy<smallest>, smallest>);
    // What goes on in the place of a wrong type has to fit wherever it goes.
    STATIC_REQUIRE(tq::policy<tq::detail::stand_in_policy>);
    STATIC_REQUIRE(std::is_constructible_v<tq::detail::stand_in_policy, one_row&>);
}
