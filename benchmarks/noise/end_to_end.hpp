#pragma once
// Part B of the benchmark: variants decoded over prompts, in pieces that a journal remembers.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <tq/evaluate/evaluate.hpp>
#include <tq/tq.hpp>
#include <tuple>
#include <utility>
#include <vector>

#include "models.hpp"
#include "variants.hpp"

namespace noise {

struct decode_settings {
    std::string file;  // prompts, JSON lines
    std::size_t prompts = 30, tokens = 32, seeds = 2, together = 6;
    double minutes = 1e9;  // no piece is begun after them
    std::string journal;   // JSON lines; empty = none
    std::vector<std::string> variants;
};

/// Some prompts decoded with one seed.
struct piece {
    std::string variant, file;
    std::size_t seed = 0, first = 0, limit = 0;  // answers have `limit` tokens at most
    std::vector<double> reward, kl;              // [prompts]; kl NaN where it is not known
    double seconds = 0;
    std::size_t emitted = 0, model_tokens = 0;

    [[nodiscard]] auto key() const {
        return std::tuple{variant, file, seed, first, reward.size(), limit};
    }
};

inline void to_json(nlohmann::json& json, const piece& p) {
    json = {{"variant", p.variant}, {"file", p.file},
            {"seed", p.seed},       {"first", p.first},
            {"limit", p.limit},     {"reward", p.reward},
            {"kl", p.kl},           {"seconds", p.seconds},
            {"emitted", p.emitted}, {"model_tokens", p.model_tokens}};
}

inline void from_json(const nlohmann::json& json, piece& p) {
    for (auto [name, field] : {std::pair{"variant", &p.variant}, {"file", &p.file}})
        json.at(name).get_to(*field);
    for (auto [name, field] : {std::pair{"seed", &p.seed},
                               {"first", &p.first},
                               {"limit", &p.limit},
                               {"emitted", &p.emitted},
                               {"model_tokens", &p.model_tokens}})
        json.at(name).get_to(*field);
    json.at("reward").get_to(p.reward);
    json.at("seconds").get_to(p.seconds);
    for (const nlohmann::json& kl : json.at("kl"))
        p.kl.push_back(kl.is_null() ? std::nan("") : kl.get<double>());
}

/// What is known of a variant.
struct outcome {
    std::vector<double> reward, kl;  // [prompts], means over the seeds
    double seconds = 0, emitted = 0, model_tokens = 0;

    [[nodiscard]] double cost() const { return model_tokens / emitted; }
};

class end_to_end {
public:
    end_to_end(const decode_settings& settings, std::size_t threads)
        : settings_{settings},
          models_{threads},
          prompts_{models_.prompts(settings.file, settings.prompts)} {
        if (std::ifstream file{settings_.journal}; file)
            for (std::string line; std::getline(file, line);) {
                const auto done = nlohmann::json::parse(line).get<piece>();
                done_[done.key()] = done;
            }
    }

    /// Empty if there was no time for all of it.
    std::optional<outcome> run(const variant& v) {
        const std::size_t seeds = v.random ? settings_.seeds : 1;
        outcome result{.reward = std::vector<double>(prompts_.size()),
                       .kl = std::vector<double>(prompts_.size())};
        for (std::size_t seed = 0; seed < seeds; ++seed)
            for (std::size_t first = 0; first < prompts_.size(); first += settings_.together) {
                const std::optional<piece> p = piece_of(v, seed, first);
                if (!p) return {};
                for (std::size_t i = 0; i < p->reward.size(); ++i) {
                    result.reward[first + i] += p->reward[i] / static_cast<double>(seeds);
                    result.kl[first + i] += p->kl[i] / static_cast<double>(seeds);
                }
                result.seconds += p->seconds;
                result.emitted += static_cast<double>(p->emitted);
                result.model_tokens += static_cast<double>(p->model_tokens);
            }
        return result;
    }

private:
    using clock = std::chrono::steady_clock;

    [[nodiscard]] static double seconds_since(clock::time_point start) {
        return std::chrono::duration<double>(clock::now() - start).count();
    }

    std::optional<piece> piece_of(const variant& v, std::size_t seed, std::size_t first) {
        const std::size_t count = std::min(settings_.together, prompts_.size() - first);
        piece p{.variant = v.name,
                .file = settings_.file.substr(settings_.file.rfind('/') + 1),
                .seed = seed,
                .first = first,
                .limit = settings_.tokens,
                .reward = std::vector<double>(count),
                .kl = std::vector<double>(count)};
        if (const auto found = done_.find(p.key()); found != done_.end()) return found->second;
        if (seconds_since(start_) > 60 * settings_.minutes) return {};
        fmt::print(stderr, "\r\033[K{}: seed {}, prompt {}", v.name, seed, first);
        decode(v, p);
        fmt::print(stderr, "\r\033[K");
        if (settings_.journal.empty()) return p;
        std::ofstream file{settings_.journal, std::ios::app};
        file << nlohmann::json(p).dump() << '\n' << std::flush;
        if (!file) throw tq::invalid_option{"noise: cannot write " + settings_.journal};
        return p;
    }

    void decode(const variant& v, piece& p) {
        models_.clear_caches();  // no piece profits from what another has decoded
        tq::direct_transfer q{models_.baseline, models_.reward, v.rollout};
        tq::decode_options decode = v.decode;
        decode.seed = p.seed;
        tq::block_options block = v.block;
        block.seed = p.seed;
        tq::llama_cpp::language_model& anchor = v.on_policy ? models_.policy : models_.baseline;
        if (v.in_blocks)
            collect(tq::block_decoder{models_.baseline, q, block}, p);
        else if (v.frozen)
            collect(tq::decoder{models_.policy, tq::zero_value{}, anchor, decode}, p);
        else
            collect(tq::decoder{models_.policy, q, anchor, decode}, p);
        if (v.in_blocks) p.kl.assign(p.kl.size(), std::nan(""));  // from the policy: not known
    }

    template <class Decoder>
    void collect(Decoder&& decode, piece& p) {
        const std::size_t before = models_.tokens_decoded();
        const clock::time_point start = clock::now();
        auto answers = decode.generate_all(std::span{prompts_}.subspan(p.first, p.reward.size()),
                                           settings_.tokens, p.first);
        while (!answers.advance().empty()) {
        }
        p.seconds = seconds_since(start);
        p.model_tokens = models_.tokens_decoded() - before;
        for (std::size_t i = 0; i < answers.size(); ++i) {
            const tq::answer_view answer{answers.prompt(i), answers.answer(i), answers.finished(i)};
            tq::score_answers(models_.judge, {&answer, 1}, {&p.reward[i], 1});
            p.kl[i] = answers.kl(i);
            p.emitted += answers.answer(i).size();
        }
    }

    const decode_settings& settings_;
    models models_;
    std::vector<tq::token_list> prompts_;
    std::map<decltype(piece{}.key()), piece> done_;
    clock::time_point start_ = clock::now();
};

/// Runs the variants, prints the table and the JSON line.
inline void compare_variants(const decode_settings& settings, std::size_t threads) {
    end_to_end bench{settings, threads};
    std::vector<std::pair<variant, outcome>> results;
    std::size_t wanted = 0;
    for (const variant& v : all_variants()) {
        const bool chosen =
            settings.variants.empty()
                ? v.usual
                : std::ranges::find(settings.variants, v.name) != settings.variants.end();
        if (!chosen) continue;
        ++wanted;
        if (auto result = bench.run(v)) results.emplace_back(v, std::move(*result));
    }
    if (settings.variants.size() > wanted)
        throw tq::invalid_option{"noise: --variants names one that does not exist"};
    fmt::print(
        "{} prompts of {}, up to {} tokens, {} seed(s) for what is sampled\n\n"
        "{:<16}{:>16}  {:>16}{:>12}{:>18}   {}\n",
        settings.prompts, settings.file.substr(settings.file.rfind('/') + 1), settings.tokens,
        settings.seeds, "variant", "reward", "KL, nats", "tokens/s", "model tok./tok.",
        "minus the first");
    nlohmann::json json{{"prompts", settings.prompts}, {"variants", results.size()}};
    const outcome *rival = nullptr, *best = nullptr;
    for (const auto& [v, result] : results)
        if (v.name == "best_of_8") rival = &result;
    for (const auto& [v, result] : results) {
        const tq::value_estimate reward = tq::mean_estimate(result.reward),
                                 kl = tq::mean_estimate(result.kl);
        const tq::paired_difference gain =
            tq::compare_paired(result.reward, results.front().second.reward);
        fmt::print(
            "{:<16}{:>7.3f} +- {:.3f}  {:>16}{:>12.1f}{:>18.1f}   {:+.3f} +- {:.3f}\n", v.name,
            reward.q, reward.standard_error,
            std::isnan(kl.q) ? "-" : fmt::format("{:.1f} +- {:.1f}", kl.q, kl.standard_error),
            result.emitted / result.seconds, result.cost(), gain.mean, gain.standard_error);
        json["reward_" + v.name] = reward.q;
        json["se_reward_" + v.name] = reward.standard_error;
        json["model_tokens_per_token_" + v.name] = result.cost();
        if (rival == nullptr || v.is == variant::kind::rival || result.cost() > rival->cost())
            continue;
        if (best == nullptr || reward.q > tq::mean_estimate(best->reward).q) {
            best = &result;
            json["best"] = v.name;
        }
    }
    if (best != nullptr) {
        json["reward_best"] = json["reward_" + json["best"].get<std::string>()];
        json["se_reward_best"] = json["se_reward_" + json["best"].get<std::string>()];
        json["tokens_best_over_best_of_8"] = best->cost() / rival->cost();
        const tq::paired_difference gain = tq::compare_paired(best->reward, rival->reward);
        json["gain_best_over_best_of_8"] = gain.mean;
        json["se_gain_best_over_best_of_8"] = gain.standard_error;
    }
    if (results.size() < wanted)
        fmt::print("\n{} of {} variants are not finished: run it again with the same --journal\n",
                   wanted - results.size(), wanted);
    fmt::print("\n{}\n", json.dump());
}

}  // namespace noise
