#include "support/catch.hpp"
#include "support/message.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "shared_model.hpp"

using tq::llama_cpp::model_file;
using tq::llama_cpp::reward_head;
using tq::llama_cpp::text_reward;
using namespace tq::test;

static_assert(tq::explain_reward<text_reward<reward_head&>>());

namespace {

/// Remembers what it is given; the reward is the number of tokens of the answer.
class listening_reward {
public:
    explicit listening_reward(model_file source) : source_{std::move(source)} {}
    [[nodiscard]] const model_file& source() const { return source_; }
    void score(std::span<const tq::answer_view> answers, std::span<double> values) {
        heard.clear();
        for (std::size_t i = 0; i < answers.size(); ++i) {
            heard.push_back({{answers[i].prompt.begin(), answers[i].prompt.end()},
                             {answers[i].answer.begin(), answers[i].answer.end()},
                             answers[i].finished});
            values[i] = static_cast<double>(answers[i].answer.size());
        }
    }
    struct answer {
        tq::token_list prompt, answer;
        bool finished;
    };
    std::vector<answer> heard;

private:
    model_file source_;
};

const std::vector<std::string> texts{"It was wonderful, I loved every minute of it.",
                                     " It was terrible, a boring and awful waste of time",
                                     "Great acting,\n\nbeautiful pictures", "", "caf\xC3\xA9"};

}  // namespace

TEST_CASE("text_reward: answers of another vocabulary are judged as the reward's own") {
    reward_head alone{shared_model(), asset("valence_head.safetensors"), small()};
    text_reward judge{other_model(),
                      reward_head{shared_model(), asset("valence_head.safetensors"), small()}};
    const auto policy_prompt =
        other_model().tokenize("Question: How was it?\nAnswer:", {.add_special = true});
    const auto reward_prompt = shared_model().chat_prompt("How was it?");
    judge.add_prompt(policy_prompt, reward_prompt);
    CHECK((judge.range().lo == 0 && judge.range().hi == 1));
    for (const std::string& text : texts) {
        const auto theirs = other_model().tokenize(text);
        const auto ours = shared_model().tokenize(text);
        const tq::answer_view asked{policy_prompt, theirs}, expected{reward_prompt, ours};
        double value = 0, wanted = 0;
        judge.score({&asked, 1}, {&value, 1});
        alone.score({&expected, 1}, {&wanted, 1});
        INFO(text);
        CHECK(std::abs(value - wanted) < 1e-6);
    }
}

TEST_CASE("text_reward: text and end arrive as they are, cut characters too") {
    listening_reward inner{shared_model()};
    text_reward judge{other_model(), inner};
    judge.add_prompt({5, 6}, {7, 8, 9});
    judge.add_prompt({5}, {1});
    const tq::token_list prompt{5, 6}, longer = prompt + other_model().tokenize("So it is");
    const tq::llama_cpp::detail::piece_table pieces{other_model()};
    const auto cut = pieces.tokenize(std::string{"a smile \xF0\x9F\x98"});
    const auto plain = other_model().tokenize(", I think.");
    const std::vector<tq::answer_view> asked{{prompt, cut, false}, {longer, plain, true}};
    std::vector<double> values(2);
    judge.score(asked, values);
    const tq::llama_cpp::detail::piece_table ours{shared_model()};
    REQUIRE(inner.heard.size() == 2);
    CHECK(ours.text(inner.heard[0].answer) == "a smile \xF0\x9F\x98");
    CHECK(ours.text(inner.heard[1].answer) == "So it is, I think.");
    for (const auto& heard : inner.heard) CHECK(heard.prompt == tq::token_list{7, 8, 9});
    CHECK_FALSE(inner.heard[0].finished);
    CHECK(inner.heard[1].finished);
    CHECK(values[0] == static_cast<double>(inner.heard[0].answer.size()));
}

TEST_CASE("text_reward: without another vocabulary nothing changes, and no prompt is needed") {
    listening_reward inner{shared_model()};
    text_reward judge{shared_model(), inner};
    const tq::token_list prompt{4, 5}, answer{9, 8, 7};
    const tq::answer_view asked{prompt, answer, true};
    double value = 0;
    judge.score({&asked, 1}, {&value, 1});
    CHECK(value == 3);
    CHECK((inner.heard[0].prompt == prompt && inner.heard[0].answer == answer));
}

TEST_CASE("text_reward: a prompt that it does not know is refused") {
    listening_reward inner{shared_model()};
    text_reward judge{other_model(), inner};
    CHECK(contains(message_of<tq::invalid_option>([&] { judge.add_prompt({1}, {}); }),
                   "text_reward: prompt size = 0"));
    judge.add_prompt({1, 2}, {3});
    const tq::token_list prompt{1, 3};
    const tq::answer_view asked{prompt, prompt};
    double value = 0;
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       judge.score({&asked, 1}, {&value, 1});
                   }),
                   "text_reward: sequence = one without a prompt"));
}
