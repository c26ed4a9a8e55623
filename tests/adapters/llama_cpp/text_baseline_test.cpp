#include "support/catch.hpp"
#include "support/message.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <ranges>
#include <string>
#include <utility>

#include <tq/core/random.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include "shared_model.hpp"

using tq::llama_cpp::language_model;
using tq::llama_cpp::model_file;
using tq::llama_cpp::text_baseline;
using tq::llama_cpp::detail::piece_table;
using namespace tq::test;

static_assert(tq::completer<text_baseline<language_model&>>);

namespace {

constexpr tq::sampling_rule greedy{.temperature = 0, .top_p = 1};

/// Writes one text, in a vocabulary's own tokens: row i puts nearly everything on the token that goes
/// on where the sequence is, if it spells the text's beginning in those very tokens; if not, on "?".
class scripted_model {
public:
    scripted_model(const model_file& source, const std::string& text)
        : source_{source},
          script_{source.tokenize(text)},
          lost_{source.tokenize("?").front()} {}

    [[nodiscard]] const model_file& source() const { return source_; }
    [[nodiscard]] std::size_t vocab_size() const { return source_.vocab_size(); }
    [[nodiscard]] std::size_t max_batch() const { return 2; }
    [[nodiscard]] std::span<const tq::logits_view> next_logits(
        std::span<const tq::token_view> sequences) {
        table_.assign(sequences.size(), std::vector<float>(vocab_size(), 0.0F));
        views_.clear();
        for (std::size_t i = 0; i < sequences.size(); ++i) {
            table_[i][static_cast<std::size_t>(next(sequences[i].subspan(1)))] = 50;
            views_.emplace_back(table_[i]);
        }
        return views_;
    }

private:
    [[nodiscard]] tq::token_id next(tq::token_view answer) const {
        if (answer.size() <= script_.size() &&
            std::ranges::equal(answer, tq::token_view{script_}.first(answer.size())))
            return answer.size() == script_.size() ? source_.end_tokens()[0]
                                                   : script_[answer.size()];
        return lost_;
    }

    model_file source_;
    tq::token_list script_;
    tq::token_id lost_;
    std::vector<std::vector<float>> table_;
    std::vector<tq::logits_view> views_;
};

/// The continuation of an answer by a baseline, as a trajectory, and the text of it.
template <class Baseline>
std::pair<tq::trajectory, std::string> continued(Baseline& baseline, const model_file& policy,
                                                 const tq::token_list& prompt,
                                                 const tq::token_list& answer,
                                                 std::size_t max_tokens,
                                                 tq::sampling_rule rule = greedy) {
    const tq::token_list sequence = prompt + answer;
    const tq::rollout_request request{.sequence = sequence,
                                      .max_tokens = max_tokens,
                                      .end_tokens = policy.end_tokens(),
                                      .key = tq::random_key{5}};
    auto result = tq::run_rollouts(baseline, {&request, 1}, rule);
    std::string text;
    for (const tq::token_id token : result.at(0).tokens()) text += policy.piece(token);
    return {std::move(result[0]), std::move(text)};
}

/// The completer's contract.
void check_contract(const tq::trajectory& rollout, const tq::token_list& sequence,
                    std::size_t max_tokens, const model_file& policy) {
    REQUIRE(rollout.start == sequence.size());
    REQUIRE(rollout.sequence.size() >= sequence.size());
    CHECK(std::equal(sequence.begin(), sequence.end(), rollout.sequence.begin()));
    CHECK(rollout.tokens().size() <= max_tokens);
    CHECK(std::isnan(rollout.log_probability));  // not known
    if (rollout.finished) CHECK(rollout.tokens().size() < max_tokens);
    for (const tq::token_id token : rollout.tokens()) {
        CHECK((token >= 0 && static_cast<std::size_t>(token) < policy.vocab_size()));
        CHECK_FALSE(tq::is_end_token(token, policy.end_tokens()));
    }
}

const std::vector<std::string> questions{"Write a line about the sea.",
                                         "What is a good breakfast?",
                                         "Tell me about your favourite season.",
                                         "Describe a small house in the woods.",
                                         "Why do people travel?",
                                         "Write a short review of a tent."};

std::string plain_prompt(const std::string& question) {
    return "Question: " + question + "\nAnswer:";
}

}  // namespace

TEST_CASE("pieces: text and any other bytes come back as they were, in both vocabularies") {
    for (const model_file& source : {shared_model(), other_model()}) {
        const piece_table pieces{source};
        for (const std::string text :
             {"Hello, world!\n\n  Two  spaces.",
              "\xC3\xA9t\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80", "cut \xF0\x9F\x98",
              "\x80\x98 rest of a character", "\xE2\x82", "<|im_end|> <eos>", ""})
            CHECK(pieces.text(pieces.tokenize(text)) == text);
        CHECK(pieces.tokenize("Hello there") == source.tokenize("Hello there"));
        const auto spelled = [&](char byte) {
            return !pieces.tokenize(std::string(1, byte)).empty();
        };
        CHECK(std::ranges::count_if(std::views::iota(0, 256), [&](int byte) {
                  return spelled(static_cast<char>(byte));
              }) > 200);
        const tq::random_key key{8};
        for (std::uint64_t n = 0; n < 50; ++n) {
            std::string noise;
            for (std::uint64_t i = 0; i < 20; ++i)
                noise += static_cast<char>(key.fold_in(n).bits(i) % 256);
            std::erase_if(noise, [&](char byte) { return !spelled(byte); });
            CHECK(pieces.text(pieces.tokenize(noise)) == noise);
        }
        CHECK(pieces.goes_on(" hel"));
        CHECK_FALSE(pieces.goes_on(" helxyzzyx"));
        for (const tq::token_id token : pieces.beginning_with(" hel"))
            CHECK(pieces.piece(token).starts_with(" hel"));
    }
}

TEST_CASE("text_baseline: what it writes goes on where a word was cut, with healing only") {
    const std::string script = " hello there, wonderful people";
    for (const model_file& source : {shared_model(), other_model()})
        for (const bool healing : {true, false}) {
            text_baseline baseline{shared_model(), scripted_model{source, script}, {healing}};
            baseline.add_prompt({1, 2, 3}, {7});
            std::size_t right = 0;
            for (std::size_t cut = 0; cut <= script.size(); ++cut) {
                const auto answer = shared_model().tokenize(script.substr(0, cut));
                const auto [rollout, text] =
                    continued(baseline, shared_model(), {1, 2, 3}, answer, 30);
                check_contract(rollout, tq::token_list{1, 2, 3} + answer, 30, shared_model());
                right += rollout.finished && text == script.substr(cut);
            }
            INFO("healing " << healing << ": " << right << " of " << script.size() + 1);
            if (healing)
                CHECK(right == script.size() + 1);
            else
                CHECK(right < script.size() / 2);
        }
}

TEST_CASE("text_baseline: a batch is its requests one by one; limits are kept") {
    const std::string script = " hello there, wonderful people";
    text_baseline baseline{shared_model(), scripted_model{other_model(), script}};
    baseline.add_prompt({1, 2, 3}, {7});
    std::vector<tq::token_list> sequences;
    std::vector<tq::rollout_request> requests;
    for (const char* begin : {" hel", "", " hello th", " hello there, wonder", " other"})
        sequences.push_back(tq::token_list{1, 2, 3} + shared_model().tokenize(begin));
    for (std::size_t i = 0; i < sequences.size(); ++i)
        requests.push_back({.sequence = sequences[i],
                            .max_tokens = 1 + i,
                            .end_tokens = shared_model().end_tokens(),
                            .key = tq::random_key{i}});
    for (const tq::sampling_rule rule : {greedy, tq::sampling_rule{}}) {
        const auto together = baseline.complete(requests, rule);
        for (std::size_t i = 0; i < requests.size(); ++i) {
            const auto alone = baseline.complete({&requests[i], 1}, rule);
            CHECK(alone[0].sequence == together[i].sequence);
            check_contract(together[i], sequences[i], 1 + i, shared_model());
            CHECK((together[i].finished || together[i].tokens().size() == 1 + i));
        }
    }
}

TEST_CASE("text_baseline: sequences need a prompt; of several the longest holds") {
    text_baseline baseline{shared_model(), scripted_model{other_model(), " yes"}};
    const tq::token_list sequence{1, 2, 3};
    const tq::rollout_request request{.sequence = sequence, .max_tokens = 4, .end_tokens = {}};
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       (void)baseline.complete({&request, 1}, greedy);
                   }),
                   "text_baseline: sequence = one without a prompt, must be one that begins with a "
                   "prompt given to add_prompt"));
    CHECK(contains(message_of<tq::invalid_option>([&] { baseline.add_prompt({1}, {}); }),
                   "text_baseline: prompt size = 0"));
    baseline.add_prompt({1}, {7, 7});  // the script is lost: a longer prompt than it expects
    baseline.add_prompt({1, 2, 3}, {7});
    baseline.add_prompt({1, 2}, {7, 7});
    CHECK(continued(baseline, shared_model(), sequence, {}, 4).second == " yes");
    baseline.clear_prompts();
    CHECK_THROWS_AS(baseline.complete({&request, 1}, greedy), tq::invalid_option);
}

TEST_CASE("check_same_vocabulary: another one is refused in words") {
    tq::llama_cpp::check_same_vocabulary(shared_model(), shared_model(), "anchor");
    CHECK(
        contains(message_of<tq::invalid_option>([] {
                     tq::llama_cpp::check_same_vocabulary(shared_model(), other_model(), "anchor");
                 }),
                 "anchor: vocabulary = " + other_model().path() + ", must be that of the policy"));
}

/// Sequences that a scorer asks for: answers of 0 and 4 tokens, and each of the likeliest candidates.
std::vector<tq::token_list> candidates_of(language_model& policy, std::size_t count) {
    std::vector<tq::token_list> sequences;
    for (const std::string& question : questions) {
        const tq::token_list prompt = shared_model().chat_prompt(question);
        for (const std::size_t length : {0U, 4U}) {
            const auto begun = continued(policy, shared_model(), prompt, {}, length).first.sequence;
            const tq::token_view view{begun};
            const tq::logits_view row = policy.next_logits({&view, 1})[0];
            tq::token_list order(row.size());
            std::iota(order.begin(), order.end(), 0);
            std::ranges::partial_sort(
                order, order.begin() + static_cast<std::ptrdiff_t>(count), std::greater{},
                [&](tq::token_id token) { return row[static_cast<std::size_t>(token)]; });
            for (const tq::token_id token : tq::token_view{order}.first(count))
                if (!tq::is_end_token(token, policy.end_tokens()))
                    sequences.push_back(begun + tq::token_list{token});
        }
    }
    return sequences;
}

/// By how much the logit of `token` is above the largest of the others, or of the others `among` some.
double margin(tq::logits_view row, tq::token_id token, tq::token_view among = {}) {
    const auto logit = [&](tq::token_id z) { return double{row[static_cast<std::size_t>(z)]}; };
    double other = -std::numeric_limits<double>::infinity();
    const auto look = [&](tq::token_id z) {
        if (z != token) other = std::max(other, logit(z));
    };
    if (among.empty())
        for (std::size_t z = 0; z < row.size(); ++z) look(static_cast<tq::token_id>(z));
    else
        std::ranges::for_each(among, look);
    return logit(token) - other;
}

/// The same model with the same tokens, read one sequence at a time and many in a batch.
class two_readings {
public:
    /// `prefixes`: everything that margin() will be asked about. Each begins with what went before it.
    explicit two_readings(const std::vector<tq::token_list>& prefixes)
        : one_{shared_model(), small({.kept_rows = 4096})} {
        language_model many{shared_model(), small({.kept_rows = 0})};
        const std::vector<tq::token_view> views{prefixes.begin(), prefixes.end()};
        const auto rows = many.next_logits(views);
        for (std::size_t i = 0; i < views.size(); ++i) {
            const tq::logits_view row = one_.next_logits({&views[i], 1})[0];
            const auto best =
                static_cast<tq::token_id>(std::ranges::max_element(row) - row.begin());
            noise_ = std::max(noise_, std::abs(margin(row, best) - margin(rows[i], best)));
        }
    }

    /// True if no float noise can turn the choice of `token`: its margin is over twice what margins were
    /// found to differ by between the two readings, which is where two other readings may lie.
    [[nodiscard]] bool clear(const tq::token_list& prefix, tq::token_id token,
                             tq::token_view among = {}) {
        const tq::token_view view{prefix};
        return margin(one_.next_logits({&view, 1})[0], token, among) > 2 * noise_;
    }
    [[nodiscard]] double noise() const noexcept { return noise_; }

private:
    language_model one_;
    double noise_ = 0;
};

/// Does healing draw the end of `answer` again just as it is, whatever the noise? As text_baseline, it
/// begins where a longer token could.
bool heals_to_itself(two_readings& readings, const piece_table& pieces,
                     const tq::token_list& prompt, const tq::token_list& answer) {
    std::size_t kept = answer.size();
    std::string end;
    for (std::size_t i = answer.size(); i-- > 0 && end.size() < pieces.longest();) {
        end.insert(0, pieces.piece(answer[i]));
        if (pieces.goes_on(end)) kept = i;
    }
    for (std::size_t i = kept; i < answer.size(); ++i) {
        const tq::token_view left = tq::token_view{answer}.subspan(i);
        tq::token_list prefix = prompt;
        prefix.insert(prefix.end(), answer.begin(),
                      answer.begin() + static_cast<std::ptrdiff_t>(i));
        if (!readings.clear(prefix, answer[i], pieces.beginning_with(pieces.text(left))))
            return false;
    }
    return true;
}

// Greedy rollouts through text must be those through tokens up to the first choice that is a near tie: what
// comes after it is the noise's. Left out are tokens that their text does not give back (after " Tra" tokens
// write " Travelling", where text has " Travel"), and for healing answers whose end it may spell in another
// way. It breaks if a prompt, a token or a byte is lost or doubled on the way, or if healing adds something.
TEST_CASE("text_baseline: the same model through text writes what it writes through tokens") {
    const model_file& file = shared_model();
    const piece_table pieces{file};
    language_model direct{file, small()}, through{file, small()};
    text_baseline healed{file, through}, plain{file, through, {.healing = false}};
    std::vector<tq::token_list> prompts;
    for (const std::string& question : questions) {
        prompts.push_back(file.chat_prompt(question));
        for (auto* baseline : {&healed, &plain})
            baseline->add_prompt(prompts.back(), prompts.back());
    }
    const auto sequences = candidates_of(direct, 4);
    std::vector<tq::rollout_request> requests;
    for (const tq::token_list& sequence : sequences)
        requests.push_back(
            {.sequence = sequence, .max_tokens = 6, .end_tokens = file.end_tokens()});
    const auto expected = tq::run_rollouts(direct, requests, greedy);
    std::vector<tq::token_list> prefixes;
    for (const tq::trajectory& rollout : expected)
        for (std::size_t size = rollout.start; size < rollout.sequence.size(); ++size)
            prefixes.emplace_back(rollout.sequence.begin(),
                                  rollout.sequence.begin() + static_cast<std::ptrdiff_t>(size));
    two_readings readings{prefixes};
    const auto compare = [&](auto& baseline, bool heals) {
        const auto found = tq::run_rollouts(baseline, requests, greedy);
        std::size_t compared = 0;
        for (std::size_t i = 0; i < found.size(); ++i) {
            const auto prompt = std::ranges::find_if(prompts, [&](const tq::token_list& p) {
                return std::ranges::equal(p, tq::token_view{sequences[i]}.first(p.size()));
            });
            const tq::token_list answer{
                sequences[i].begin() + static_cast<std::ptrdiff_t>(prompt->size()),
                sequences[i].end()};
            const tq::token_view tokens = expected[i].tokens();
            if (pieces.tokenize(pieces.text(answer)) != answer ||
                !std::ranges::equal(pieces.tokenize(pieces.text(tokens)), tokens) ||
                (heals && !heals_to_itself(readings, pieces, *prompt, answer)))
                continue;
            std::size_t certain = 0;
            tq::token_list prefix = sequences[i];
            for (; certain < tokens.size() && readings.clear(prefix, tokens[certain]); ++certain)
                prefix.push_back(tokens[certain]);
            INFO(file.detokenize(answer)
                 << "|" << file.detokenize(tokens) << "|" << file.detokenize(found[i].tokens())
                 << "; " << certain << " tokens are certain");
            CHECK(pieces.text(found[i].tokens()).starts_with(pieces.text(tokens.first(certain))));
            compared += certain;
        }
        return compared;
    };
    INFO("noise of a margin: " << readings.noise());
    const std::size_t plainly = compare(plain, false), healing = compare(healed, true);
    INFO("tokens compared: " << plainly << " and, healed, " << healing);
    CHECK(plainly > 0);
    CHECK(healing > 0);
}

TEST_CASE("text_baseline: a real model spells on after half a word, if healed") {
    language_model engine{other_model(), small({.kept_rows = 8})};
    text_baseline healed{shared_model(), engine}, plain{shared_model(), engine, {.healing = false}};
    const tq::token_list prompt = shared_model().chat_prompt(questions[0]);
    std::size_t healed_words = 0, plain_words = 0;
    for (auto* baseline : {&healed, &plain})
        baseline->add_prompt(
            prompt, other_model().tokenize(plain_prompt(questions[0]), {.add_special = true}));
    for (const auto& [half, rests] : std::vector<std::pair<std::string, std::string>>{
             {" The sea is a wonderf", "ul"},
             {" The water is very beauti", "ful"},
             {" The sea is one of the most importa", "nt"},
             {" I like to go to the bea", "ch"},
             {" The ocean is full of different anima", "l"},
             {" The sea is very dange", "rous"}}) {
        const tq::token_list answer = shared_model().tokenize(half);
        const std::string with = continued(healed, shared_model(), prompt, answer, 4).second;
        const std::string without = continued(plain, shared_model(), prompt, answer, 4).second;
        healed_words += with.starts_with(rests);
        plain_words += without.starts_with(rests);
        UNSCOPED_INFO(half << "|" << with << "   without: |" << without);
    }
    UNSCOPED_INFO("healed " << healed_words << ", plain " << plain_words);
    CHECK(healed_words == 6);
    CHECK(plain_words < healed_words);
}

TEST_CASE("text_baseline: an answer that ends inside a character goes on somehow") {
    language_model engine{other_model(), small({.kept_rows = 8})};
    text_baseline baseline{shared_model(), engine};
    const tq::token_list prompt = shared_model().chat_prompt(questions[0]);
    baseline.add_prompt(prompt,
                        other_model().tokenize(plain_prompt(questions[0]), {.add_special = true}));
    for (const std::string text :
         {" I love it \xF0\x9F\x98\x80", " caf\xC3\xA9", " \xE6\x97\xA5\xE6\x9C\xAC"}) {
        tq::token_list answer = shared_model().tokenize(text);
        while (!answer.empty()) {
            for (const tq::sampling_rule rule : {greedy, tq::sampling_rule{}}) {
                const auto [rollout, rest] =
                    continued(baseline, shared_model(), prompt, answer, 3, rule);
                check_contract(rollout, prompt + answer, 3, shared_model());
            }
            answer.pop_back();
        }
    }
}

// A step's Q are the rewards of the candidates' rollouts through text, made here by hand in the same batches:
// no float noise. They differ if candidates, texts or prompts are mixed up on the way.
TEST_CASE("text_baseline: TQ* with a baseline of another vocabulary, end to end") {
    const model_file& file = shared_model();
    language_model policy{file, small()}, engine{other_model(), small({.kept_rows = 8})};
    tq::llama_cpp::reward_head reward{file, asset("valence_head.safetensors"), small()};
    text_baseline baseline{file, engine};
    const tq::token_list prompt = file.chat_prompt(questions[5]);
    baseline.add_prompt(prompt,
                        other_model().tokenize(plain_prompt(questions[5]), {.add_special = true}));
    constexpr std::size_t horizon = 8, limit = 9;
    tq::direct_transfer q{baseline, reward, {.horizon = horizon}};
    tq::decoder decode{policy,
                       q,
                       {.alpha = 0.1,
                        .top_k = 5,
                        .select = tq::selection::argmax,
                        .race = tq::race_mode::exhaustive}};
    tq::token_list answer;
    tq::tilted_distribution first;
    for (const tq::step& step : decode.generate(prompt, limit)) {
        if (step.position == 0) first = step.distribution;
        answer.push_back(step.token);
    }
    CHECK((!answer.empty() && answer.size() <= limit));
    REQUIRE(first.size() == 5);
    engine.clear_cache();
    reward.clear_cache();
    std::vector<tq::token_list> sequences;
    std::vector<tq::rollout_request> requests;
    for (const tq::token_id token : first.tokens) {
        REQUIRE_FALSE(tq::is_end_token(token, file.end_tokens()));
        sequences.push_back(prompt + tq::token_list{token});
    }
    for (const tq::token_list& sequence : sequences)
        requests.push_back(
            {.sequence = sequence, .max_tokens = horizon, .end_tokens = file.end_tokens()});
    const auto rollouts = tq::run_rollouts(baseline, requests, greedy);
    std::vector<tq::answer_view> answers;
    for (const tq::trajectory& rollout : rollouts)
        answers.push_back(
            {prompt, tq::token_view{rollout.sequence}.subspan(prompt.size()), rollout.finished});
    std::vector<double> rewards(answers.size());
    tq::score_answers(reward, answers, rewards);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        INFO(file.detokenize(answers[i].answer) << ": " << rewards[i]);
        CHECK(first.q[i] == rewards[i]);
        CHECK(std::ranges::count(rewards, rewards[i]) == 1);  // else a mix-up would not show
    }
}
