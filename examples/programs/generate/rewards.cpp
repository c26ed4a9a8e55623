#include "rewards.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace llama = tq::llama_cpp;

namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// brevity_of as a reward on tokens.
struct brevity_rule {
    llama::model_file vocabulary;
    double operator()(tq::token_view, tq::token_view answer) const {
        return brevity_of(vocabulary.detokenize(answer));
    }
    [[nodiscard]] static tq::reward_range range() { return {0, 1}; }
};

}  // namespace

double brevity_of(const std::string& text) {
    double words = 0, letters = 0, sentences = 0, exclamations = 0;
    bool in_word = false, sentence_has_letter = false;
    for (const char c : text) {
        const bool word = is_letter(c) || c == '\'';
        words += word && !in_word;
        letters += word;
        in_word = word;
        if (is_letter(c) && !std::exchange(sentence_has_letter, true)) ++sentences;
        if (c == '.' || c == '!' || c == '?' || c == '\n') sentence_has_letter = false;
        exclamations += c == '!';
    }
    if (words == 0) return 0;
    const auto share = [](double x) { return std::clamp(x, 0.0, 1.0); };
    const double mean = (share(1 - (words / std::max(1.0, sentences) - 5) / 20) +
                         share(1 - (letters / words - 3.5) / 2.5) + share(1 - words / 40)) /
                        3;
    return share(mean - 0.2 * exclamations);
}

reward_set::reward_set(const arguments& args, const llama::model_file& policy)
    : trunk_{args.reward_model.empty() ? policy : llama::model_file{args.reward_model}},
      sum_{build(args, policy)} {}

bool reward_set::asks_prompts() const {
    return !texts_.empty() && !texts_.front()->same_vocabulary();
}

void reward_set::set_prompt(const tq::token_list& policys, const tq::token_list& rewards) {
    for (const auto& text : texts_) {
        text->clear_prompts();
        text->add_prompt(policys, rewards);
    }
}

tq::weighted_sum reward_set::build(const arguments& args, const llama::model_file& policy) {
    std::vector<tq::reward_term> terms;
    for (std::size_t j = 0; j < args.rewards.size(); ++j) {
        const std::string& name = args.rewards[j];
        const double weight = args.reward_weights.empty() ? 1 : args.reward_weights[j];
        if (name == "brevity") {
            terms.emplace_back(name, brevity_rule{policy}, weight);
            continue;
        }
        heads_.push_back(std::make_unique<llama::reward_head>(
            trunk_, name,
            llama::language_model_options{.context = args.context, .threads = args.threads}));
        texts_.push_back(std::make_unique<head_in_text>(policy, *heads_.back()));
        terms.emplace_back(std::filesystem::path{name}.stem().string(), *texts_.back(), weight);
    }
    return {std::move(terms)};
}

void reward_set::clear_caches() {
    for (const auto& head : heads_) head->clear_cache();
}

std::size_t reward_set::tokens_decoded() const noexcept {
    std::size_t sum = 0;
    for (const auto& head : heads_) sum += head->tokens_decoded();
    return sum;
}

std::size_t reward_set::decodes() const noexcept {
    std::size_t sum = 0;
    for (const auto& head : heads_) sum += head->decodes();
    return sum;
}
