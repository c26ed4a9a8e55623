// rollout_noise: how well do few rollouts rank the candidates of a step, on the real model?
//
// In some states of real answers the candidates' true Q is measured with many independent rollouts.
// Then other rollouts, that had no part in it, are dealt into groups of a small size, each group
// picks the candidate of the largest mean, and its regret is the true Q it gives away. Independent
// against coupled noise (the candidates share their Gumbel noise), an even split of the rollouts
// against successive halving of as many.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../examples/programs/support/defaults.hpp"

namespace {

namespace llama = tq::llama_cpp;

struct settings {
    std::size_t states = 12, truth = 64, samples = 64, top_k = 8, horizon = 16;
    std::string prompts = TQSTAR_ASSETS_DIR "/prompts.train.jsonl";
};

/// rewards[candidate][rollout]
using reward_table = std::vector<std::vector<double>>;

/// A state, its candidates and their rewards.
struct measured_state {
    std::vector<double> truth;  // [candidates] means of many rollouts
    reward_table independent, coupled;
};

class bench {
public:
    explicit bench(const settings& chosen)
        : options_{chosen},
          file_{demo_defaults::model()},
          baseline_{file_,
                    {.lora = demo_defaults::baseline_lora(),
                     .context = 16384,
                     .max_sequences = 128,
                     .threads = demo_defaults::threads()}},
          reward_{file_,
                  demo_defaults::reward_head(),
                  {.context = 16384, .max_sequences = 128, .threads = demo_defaults::threads()}} {}

    /// One state for each prompt: the prompt and the first tokens of a sampled answer.
    std::vector<measured_state> measure() {
        std::ifstream stream{options_.prompts};
        std::vector<measured_state> result;
        for (std::string line; result.size() < options_.states && std::getline(stream, line);) {
            fmt::print(stderr, "\r\033[Kstate {}/{}", result.size() + 1, options_.states);
            const tq::token_list prompt =
                file_.chat_prompt(nlohmann::json::parse(line)["prompt"].get<std::string>());
            result.push_back(measure(prompt, result.size()));
        }
        fmt::print(stderr, "\r\033[K");
        if (result.size() < options_.states)
            throw tq::invalid_option{fmt::format("rollout_noise: {} has only {} prompts",
                                                 options_.prompts, result.size())};
        return result;
    }

private:
    measured_state measure(const tq::token_list& prompt, std::size_t number) {
        const std::size_t depth = 1 + number % 8;
        const tq::random_key key = tq::random_key{1}.fold_in(number);
        const tq::rollout_request request{.sequence = prompt,
                                          .max_tokens = depth,
                                          .end_tokens = baseline_.end_tokens(),
                                          .key = key};
        const tq::token_list sequence =
            tq::run_rollouts(baseline_, {&request, 1}, {.temperature = 1}).front().sequence;
        const tq::token_view view{sequence};
        std::vector<tq::scored_token> best(options_.top_k);
        tq::top_k(baseline_.next_logits({&view, 1}).front(), best);
        const tq::decode_state state{.sequence = sequence,
                                     .prompt_size = prompt.size(),
                                     .tokens_left = options_.horizon + 1,
                                     .end_tokens = baseline_.end_tokens(),
                                     .key = key.fold_in(1),
                                     .answer_key = key.fold_in(2)};
        const reward_table all =
            rewards(state, best, tq::rollout_noise::independent, options_.truth + options_.samples);
        measured_state result;
        for (const std::vector<double>& row : all) {
            const auto middle = row.begin() + static_cast<std::ptrdiff_t>(options_.truth);
            result.truth.push_back(tq::mean_estimate({row.begin(), middle}).q);
            result.independent.emplace_back(middle, row.end());
        }
        result.coupled = rewards(state, best, tq::rollout_noise::coupled, options_.samples);
        return result;
    }

    reward_table rewards(const tq::decode_state& state, std::span<const tq::scored_token> tokens,
                         tq::rollout_noise noise, std::size_t count) {
        tq::direct_transfer q{baseline_,
                              reward_,
                              {.horizon = options_.horizon,
                               .rollouts = count,
                               .sampling = {.temperature = 1},
                               .noise = noise}};
        reward_table result(tokens.size(), std::vector<double>(count));
        std::vector<tq::rollout_query> queries;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (q.rollouts(state, tokens[i].token) == 1) result[i].resize(1);
            queries.push_back({state, tokens[i].token, 0, result[i]});
        }
        q.sample(queries);
        for (std::vector<double>& row : result) {
            if (std::any_of(row.begin(), row.end(), [](double r) { return !(r >= 0 && r <= 1); }))
                throw tq::backend_error{"rollout_noise: a reward is outside [0, 1]"};
            row.resize(count, row.front());  // an ended answer is worth what it is worth
        }
        return result;
    }

    settings options_;
    llama::model_file file_;
    llama::language_model baseline_;
    llama::reward_head reward_;
};

double mean_of(const std::vector<double>& row, std::size_t first, std::size_t count) {
    return std::accumulate(row.begin() + static_cast<std::ptrdiff_t>(first),
                           row.begin() + static_cast<std::ptrdiff_t>(first + count), 0.0) /
           static_cast<double>(count);
}

std::size_t best_even(const reward_table& rewards, std::size_t first, std::size_t each) {
    std::size_t best = 0;
    for (std::size_t z = 1; z < rewards.size(); ++z)
        if (mean_of(rewards[z], first, each) > mean_of(rewards[best], first, each)) best = z;
    return best;
}

/// Successive halving with as many rollouts in all as `each` for every candidate.
std::size_t best_halving(const reward_table& rewards, std::size_t first, std::size_t each) {
    std::vector<std::size_t> field(rewards.size());
    std::iota(field.begin(), field.end(), std::size_t{0});
    std::size_t rounds = 0;
    while ((std::size_t{1} << rounds) < field.size()) ++rounds;
    const std::size_t budget = each * field.size();
    for (std::size_t done = 0; field.size() > 1;) {
        done += std::max<std::size_t>(1, budget / rounds / field.size());
        std::stable_sort(field.begin(), field.end(), [&](std::size_t a, std::size_t b) {
            return mean_of(rewards[a], first, done) > mean_of(rewards[b], first, done);
        });
        field.resize((field.size() + 1) / 2);
    }
    return field.front();
}

struct rule {
    const char* name;
    const char* key;
    reward_table measured_state::*noise;
    std::size_t each;
    bool halving;
};

/// Mean regret of a rule over states and groups; groups of one state count as one observation.
tq::value_estimate regret(const std::vector<measured_state>& states, const rule& rule,
                          std::size_t samples) {
    std::vector<double> means;
    for (const measured_state& state : states) {
        const double best = *std::max_element(state.truth.begin(), state.truth.end());
        // A survivor of a halving may use up more rollouts than its even share.
        const std::size_t stride = rule.halving ? samples / 4 : rule.each;
        double sum = 0, groups = 0;
        for (std::size_t first = 0; first + stride <= samples; first += stride, ++groups) {
            const reward_table& rewards = state.*rule.noise;
            const std::size_t pick = rule.halving ? best_halving(rewards, first, rule.each)
                                                  : best_even(rewards, first, rule.each);
            sum += best - state.truth[pick];
        }
        means.push_back(sum / groups);
    }
    return tq::mean_estimate(means);
}

/// Variance of the difference between two candidates' rewards, coupled over independent.
double difference_ratio(const std::vector<measured_state>& states) {
    const auto variance = [&](reward_table measured_state::*noise) {
        double sum = 0;
        for (const measured_state& state : states)
            for (std::size_t z = 1; z < state.truth.size(); ++z) {
                std::vector<double> differences;
                for (std::size_t i = 0; i < (state.*noise)[z].size(); ++i)
                    differences.push_back((state.*noise)[z][i] - (state.*noise)[0][i]);
                const tq::value_estimate mean = tq::mean_estimate(differences);
                sum += mean.standard_error * mean.standard_error;
            }
        return sum;
    };
    return variance(&measured_state::coupled) / variance(&measured_state::independent);
}

void run(const settings& options) {
    bench bench{options};
    const std::vector<measured_state> states = bench.measure();
    fmt::print("{} states, {} candidates, sampled rollouts of up to {} tokens; truth from {}\n\n",
               states.size(), options.top_k, options.horizon, options.truth);
    fmt::print("{:<44} {:>20}\n", "rollouts per candidate", "regret of the pick");
    nlohmann::json json{{"states", states.size()},
                        {"truth", options.truth},
                        {"difference_variance_ratio", difference_ratio(states)}};
    constexpr auto independent = &measured_state::independent, coupled = &measured_state::coupled;
    const rule rules[] = {{"1 independent", "independent_1", independent, 1, false},
                          {"1 coupled", "coupled_1", coupled, 1, false},
                          {"4 independent", "independent_4", independent, 4, false},
                          {"4 coupled", "coupled_4", coupled, 4, false},
                          {"4 independent, halving", "halving_independent_4", independent, 4, true},
                          {"4 coupled, halving", "halving_coupled_4", coupled, 4, true},
                          {"16 independent", "independent_16", independent, 16, false},
                          {"16 coupled", "coupled_16", coupled, 16, false}};
    for (const rule& rule : rules) {
        const tq::value_estimate value = regret(states, rule, options.samples);
        fmt::print("{:<44} {:>10.4f} +- {:.4f}\n", rule.name, value.q, value.standard_error);
        json[std::string{"regret_"} + rule.key] = value.q;
        json[std::string{"se_regret_"} + rule.key] = value.standard_error;
    }
    fmt::print("\nvariance of differences of Q, coupled over independent: {:.2f}\n\n{}\n",
               json["difference_variance_ratio"].get<double>(), json.dump());
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    bool quick = false;
    CLI::App app{"How well do few rollouts rank candidates? Independent and coupled noise"};
    app.add_flag("--quick", quick, "2 states, 16 rollouts for the truth");
    app.add_option("--states", options.states, "one for each prompt")->capture_default_str();
    app.add_option("--truth", options.truth, "rollouts per candidate for the true Q")
        ->capture_default_str();
    app.add_option("--top-k", options.top_k)->capture_default_str();
    app.add_option("--horizon", options.horizon)->capture_default_str();
    app.add_option("--prompts", options.prompts, "JSON lines with \"prompt\"")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    if (quick) {
        options.states = 2;
        options.truth = 16;
    }
    try {
        run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "rollout_noise: {}\n", error.what());
        return 1;
    }
}
