#include "support/catch.hpp"
#include "support/message.hpp"

#include <cmath>
#include <numeric>

#include "shared_model.hpp"

using tq::llama_cpp::reward_head;
using namespace tq::test;

static_assert(tq::explain_reward<reward_head>());

namespace {

std::vector<double> scores(reward_head& judge, const tq::token_list& prompt,
                           const std::vector<tq::token_list>& answers) {
    std::vector<tq::answer_view> views;
    for (const auto& answer : answers) views.push_back({prompt, answer});
    std::vector<double> values(answers.size());
    judge.score(views, values);
    return values;
}

tq::token_list prompt() { return shared_model().chat_prompt("How was the film?"); }

std::vector<tq::token_list> answers() {
    std::vector<tq::token_list> tokens;
    for (const char* text : {"It was wonderful, I loved every minute of it.",
                             "It was terrible, a boring and awful waste of time.",
                             "Great acting, beautiful pictures, a perfect evening.",
                             "Horrible. The worst film I have ever seen.", "It was"})
        tokens.push_back(shared_model().tokenize(text));
    return tokens;
}

/// The answers, and such as begin like others or say nothing.
std::vector<tq::token_list> more_answers() {
    auto all = answers();
    all.emplace_back();                                           // the prompt itself
    all.push_back(all[0] + shared_model().tokenize(" Really."));  // all[0] begins it
    all.push_back(all[1]);
    return all;
}

/// The score by llama.cpp's own hidden state: sigmoid(w . h + b).
double bare_score(const std::vector<float>& state) {
    static tq::llama_cpp::safetensors_file file{asset("valence_head.safetensors")};
    static const std::vector<float> weight = file.tensor("score.weight").values;
    static const std::vector<float> bias = file.tensor("score.bias").values;
    return 1 / (1 + std::exp(-std::inner_product(state.begin(), state.end(), weight.begin(),
                                                 double{bias[0]})));
}

/// How far scores of one answer may lie apart: three times what those of llama.cpp's own states do when
/// it decodes the answers in other batches, beside other sequences.
double noise() {
    static const double measured = [] {
        std::vector<tq::token_list> sequences;
        for (const tq::token_list& answer : more_answers()) sequences.push_back(prompt() + answer);
        return bare_model{shared_model(), true}.noise(sequences, [](const auto& a, const auto& b) {
            return std::abs(bare_score(a) - bare_score(b));
        });
    }();
    return 3 * measured + 1e-6;
}

}  // namespace

TEST_CASE("good words score above bad ones, in [0, 1]") {
    reward_head judge{shared_model(), asset("valence_head.safetensors"), small()};
    const auto values = scores(judge, prompt(), answers());
    for (const double value : values) REQUIRE((value > 0 && value < 1));
    INFO("three times the noise: " << noise() << ", good " << values[0] << " and " << values[2]
                                   << ", bad " << values[1] << " and " << values[3]);
    REQUIRE(std::min(values[0], values[2]) > std::max(values[1], values[3]) + noise());
    REQUIRE((judge.range().lo == 0 && judge.range().hi == 1));

    std::vector<double> raw(1);
    const auto answer = answers()[0];
    const tq::token_list start = prompt();
    const tq::answer_view view{start, answer};
    judge.score_raw({&view, 1}, raw);
    REQUIRE(std::abs(1 / (1 + std::exp(-raw[0])) - values[0]) < noise());
}

TEST_CASE("a score does not depend on the batch") {
    reward_head judge{shared_model(), asset("valence_head.safetensors"), small()};
    const auto all = more_answers();
    const auto together = scores(judge, prompt(), all);
    REQUIRE(together[1] == together.back());
    bare_model bare{shared_model(), true};
    for (std::size_t i = 0; i < all.size(); ++i)
        REQUIRE(std::abs(bare_score(bare.row(prompt() + all[i])) - together[i]) < noise());
    reward_head fresh{shared_model(), asset("valence_head.safetensors"),
                      small({.context = 512, .max_sequences = 2, .batch = 32})};
    for (std::size_t i = 0; i < all.size(); ++i) {
        fresh.clear_cache();
        REQUIRE(std::abs(scores(fresh, prompt(), {all[i]})[0] - together[i]) < noise());
    }
    const auto grouped = scores(fresh, prompt(), all);
    for (std::size_t i = 0; i < all.size(); ++i)
        REQUIRE(std::abs(grouped[i] - together[i]) < noise());
}

TEST_CASE("prompt and answer so far are decoded once") {
    reward_head judge{shared_model(), asset("valence_head.safetensors"), small()};
    const std::size_t size = prompt().size();
    const auto a = answers()[0], b = answers()[1];  // they begin alike: "It was"
    const std::size_t shared = tq::llama_cpp::detail::common_prefix(a, b);
    REQUIRE(shared >= 2);
    scores(judge, prompt(), {a, b});
    REQUIRE(judge.tokens_decoded() == size + a.size() + b.size() - shared);
    REQUIRE(judge.decodes() == 2);
    judge.reset_counters();
    scores(judge, prompt(), {a + tq::token_list{5}, b + tq::token_list{6, 7}});
    REQUIRE(judge.tokens_decoded() == 3);
    REQUIRE(judge.decodes() == 1);  // so few that they go in one batch
    scores(judge, prompt(), {b + tq::token_list{6, 7}, a});
    REQUIRE(judge.tokens_decoded() == 3);
}

TEST_CASE("one set of weights serves policy, baseline and reward") {
    const auto& file = shared_model();
    reward_head judge{file, asset("valence_head.safetensors"), small()};
    tq::llama_cpp::language_model policy{file, small()};
    REQUIRE(policy.source().handle() == judge.source().handle());
    REQUIRE_THROWS_AS(scores(judge, {}, {{}}), tq::invalid_option);
    REQUIRE_THROWS_AS(scores(judge, prompt(), {{60000}}), tq::invalid_option);
    REQUIRE(scores(judge, prompt(), answers()).size() == 5);
}
