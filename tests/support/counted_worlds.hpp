#pragma once
// Models that count the prefixes they read, to hold model tokens against.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tq/decode/decoder.hpp>
#include <tq/tabular/bigram.hpp>
#include <tq/transfer/direct.hpp>
#include <unordered_set>
#include <utility>
#include <vector>

#include "support/policies.hpp"

namespace tq::test {

/// Every prefix that a model has read; each is read once.
class prefix_counter {
public:
    void read(tq::token_view sequence) {
        tq::random_key prefix;
        for (const tq::token_id token : sequence) {
            prefix = prefix.fold_in(static_cast<std::uint64_t>(token));
            read_.insert(prefix.value());
        }
    }
    [[nodiscard]] std::size_t count() const { return read_.size(); }

private:
    std::unordered_set<std::uint64_t> read_;  // a hash of each
};

struct reading_policy : tq::tabular::bigram_model {
    explicit reading_policy(tq::tabular::bigram_model model) : bigram_model{std::move(model)} {}
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view> sequences) {
        for (const tq::token_view sequence : sequences) reads.read(sequence);
        return bigram_model::next_logits(sequences);
    }
    prefix_counter reads;
};

struct reading_reward {
    prefix_counter& reads;
    double operator()(tq::token_view prompt, tq::token_view answer) const {
        tq::token_list sequence{prompt.begin(), prompt.end()};
        sequence.insert(sequence.end(), answer.begin(), answer.end());
        reads.read(sequence);
        double sum = 0;
        for (const tq::token_id token : answer) sum += token % 3 == 0;
        return answer.empty() ? 0 : sum / static_cast<double>(answer.size());
    }
    [[nodiscard]] static tq::reward_range range() { return {0, 1}; }
};

/// Counted over read tokens, less 1, of many answers, with a prior as told.
enum class prior { policy, baseline, another };

inline double count_error(const tq::decode_options& options, prior from, bool own_baseline) {
    reading_policy policy{random_bigram(400, 2)}, other{random_bigram(400, 3)},
        third{random_bigram(400, 3)};
    reading_policy& baseline = own_baseline ? policy : other;
    prefix_counter judged;
    tq::direct_transfer q{baseline, reading_reward{judged}, {.horizon = 12}};
    reading_policy& anchor = from == prior::policy     ? policy
                             : from == prior::baseline ? baseline
                                                       : third;
    tq::decoder decoder{policy, q, anchor, options};
    std::vector<tq::token_list> prompts(4, tq::token_list{0});
    for (std::size_t i = 0; i < prompts.size(); ++i)
        prompts[i].front() = static_cast<tq::token_id>(i);  // nothing is shared
    auto answers = decoder.generate_all(prompts, 32);
    while (!answers.advance().empty()) {
    }
    const std::size_t read = policy.reads.count() + other.reads.count() + third.reads.count() +
                             judged.count() - prompts.size();  // rewards never read prompts first
    std::size_t first_rows = 0, models = 0;
    for (const reading_policy* model : {&policy, &other, &third})
        models += model->reads.count() > 0 ? 1 : 0;
    first_rows = (models - 1) * prompts.size();
    return static_cast<double>(answers.spent().total()) / static_cast<double>(read - first_rows) -
           1;
}

/// Calls use(options, prior, whether the policy is the baseline) for every race, budget and choice.
template <class Use>
void for_each_count(Use use) {
    for (const bool own : {false, true})
        for (const prior from : {prior::policy, prior::baseline, prior::another})
            for (const race_mode race : {race_mode::exhaustive, race_mode::exact})
                for (const double budget : {HUGE_VAL, 12.0})
                    for (const selection select : {selection::sample, selection::argmax})
                        if (budget == HUGE_VAL || race == race_mode::exact)
                            use(decode_options{.alpha = 0.1,
                                               .top_k = 6,
                                               .select = select,
                                               .race = race,
                                               .token_budget = budget},
                                from, own);
}

}  // namespace tq::test
