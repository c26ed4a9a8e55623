#include <tq/evaluate/coherence.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

/// Letters a, b and c as the three directions of space.
struct letter_counts {
    bool short_of_one = false;
    [[nodiscard]] std::vector<std::vector<float>> embed(std::span<const std::string> texts) const {
        std::vector<std::vector<float>> result;
        for (const std::string& text : texts) {
            result.emplace_back(3, 0.0F);
            for (const char c : text)
                if (c >= 'a' && c <= 'c') ++result.back()[static_cast<std::size_t>(c - 'a')];
        }
        if (short_of_one) result.pop_back();
        return result;
    }
};

}  // namespace

TEST_CASE("coherence: cosine of the two texts' vectors") {
    static_assert(tq::sentence_embedder<letter_counts>);
    letter_counts embedder;
    const std::vector<std::string> prompts{"ab", "a", "aab", "a", "a"},
        answers{"ba", "b", "abb", "  \n", "x"};
    const std::vector<double> values = tq::coherence(embedder, prompts, answers);
    CHECK(values[0] == Catch::Approx(1).margin(1e-15));
    CHECK(values[1] == 0);
    CHECK(values[2] == Catch::Approx(0.8));  // (2, 1) and (1, 2)
    CHECK(std::isnan(values[3]));            // nothing is said
    CHECK(std::isnan(values[4]));            // a vector of length 0
    CHECK(tq::coherence(embedder, {}, {}).empty());
}

TEST_CASE("coherence: refusals") {
    letter_counts embedder, short_of_one{true};
    const std::vector<std::string> two{"a", "b"}, one{"a"};
    CHECK_THROWS_AS(tq::coherence(embedder, two, one), tq::invalid_option);
    CHECK_THROWS_AS(tq::coherence(short_of_one, two, two), tq::backend_error);
    const std::vector<float> a{1, 2}, b{1};
    CHECK_THROWS_AS(tq::cosine_similarity(a, b), tq::invalid_option);
    CHECK(tq::cosine_similarity(a, std::vector<float>{-2, -4}) == Catch::Approx(-1));
}
