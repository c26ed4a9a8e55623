#include "decode.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <tq/baselines/decoded_baseline.hpp>
#include <tq/ext/json/json.hpp>
#include <tq/rivals/rivals.hpp>
#include <tq/tq.hpp>
#include <tuple>

#include "../support/program.hpp"
#include "models.hpp"

namespace evaluation {
namespace {

/// Some prompts, one method, one seed: what is decoded together.
struct piece {
    const method_config* method;
    std::size_t seed, first, size;
};

/// In an order in which whatever is done first compares all methods on the same prompts.
std::vector<piece> pieces_of(const config& c) {
    std::vector<piece> result;
    for (std::size_t first = 0; first < c.limit; first += c.together)
        for (std::size_t seed = 0; seed < c.seeds; ++seed)
            for (const method_config& m : c.methods)
                if (seed == 0 || !m.deterministic())
                    result.push_back({&m, seed, first, std::min(c.together, c.limit - first)});
    return result;
}

/// A text as a journal gives it back: with U+FFFD for a character that the answer's end has cut.
std::string as_written(const std::string& text) {
    tq::llama_cpp::utf8_buffer buffer;
    std::string result = buffer.push(text);
    return result + buffer.finish();
}

class worker {
public:
    worker(const config& config, const std::vector<prompt>& prompts, journal& journal,
           const std::filesystem::path& timings, std::size_t threads,
           const progress_report& progress)
        : config_{config},
          journal_{journal},
          timings_{timings},
          progress_{progress},
          models_{config, prompts, threads} {}

    void run(const piece& p, std::size_t done, std::size_t all) {
        done_ = done;
        all_ = all;
        journal_.begin(*p.method);
        models_.use_baseline(p.method->baseline);
        models_.clear_caches();
        const method_config& m = *p.method;
        if (models_.translated() != nullptr && m.kind == method_kind::tq && m.on_policy &&
            m.transfer == transfer_kind::direct && m.baseline.written == writer::model)
            decode_translated(p);
        else
            decode(p, models_.baseline());
    }

private:
    using language_model = models::language_model;
    using head = models::reward_type;

    /// Calls use(action value), of the transfer that the method names.
    template <class Use>
    void with_value(const method_config& m, language_model& baseline, Use use) {
        if (m.transfer == transfer_kind::direct)
            return use(
                tq::direct_transfer<language_model&, head&>{baseline, models_.reward, m.rollout});
        tq::implicit_weights weights{models_.policy, {.beta = m.beta}};
        if (m.transfer == transfer_kind::indirect)
            return use(
                tq::indirect_transfer{baseline, models_.reward, weights, m.rollout, m.weights});
        use(tq::soft_transfer{
            baseline, models_.reward, weights, m.rollout, {.weights = m.weights}});
    }

    /// Calls use(baseline) with one that searches, on top of the baseline's model.
    template <class Use>
    void with_written_baseline(const method_config& m, language_model& base, std::size_t seed,
                               Use use) {
        if (m.baseline.written == writer::best_of_n)
            return use(tq::decoded_baseline{
                tq::best_of_n(base, models_.reward, {.n = m.baseline.n, .seed = seed})});
        use(tq::decoded_baseline{tq::decoder{base, tq::args_value(base, models_.reward),
                                             tq::decode_options{.alpha = m.baseline.alpha,
                                                                .select = tq::selection::argmax,
                                                                .race = tq::race_mode::exact}}});
    }

    /// With a baseline of another vocabulary, whose rollouts travel as text.
    void decode_translated(const piece& p) {
        tq::decode_options tilt = p.method->decode;
        tilt.seed = p.seed;
        tq::direct_transfer value{*models_.translated(), models_.reward, p.method->rollout};
        collect(tq::decoder{models_.policy, value, models_.policy, tilt}, p);
    }

    void decode(const piece& p, language_model& baseline) {
        using kind = method_kind;
        const method_config& m = *p.method;
        language_model& policy = models_.policy;
        head& reward = models_.reward;
        language_model& proposer = m.on_policy ? policy : baseline;
        tq::decode_options tilt = m.decode;
        tq::block_options block = m.block;
        tilt.seed = block.seed = p.seed;
        switch (m.kind) {
            case kind::plain:
                return collect(tq::decoder{policy, tq::zero_value{}, policy, tilt}, p);
            case kind::baseline:
                return collect(tq::decoder{policy, tq::zero_value{}, baseline, tilt}, p);
            case kind::mixed: {
                tq::mixed_policy mix{policy, baseline, m.weight};
                return collect(tq::decoder{policy, tq::zero_value{}, mix, tilt}, p);
            }
            case kind::tq:
                if (m.baseline.written != writer::model)
                    return with_written_baseline(m, baseline, p.seed, [&](auto&& written) {
                        tq::rollout_options look = m.rollout;
                        look.reuse = look.reuse && m.baseline.written == writer::args;
                        tq::direct_transfer value{written, reward, look};
                        collect(tq::decoder{policy, value, proposer, tilt}, p);
                    });
                return with_value(m, baseline, [&](auto&& value) {
                    collect(tq::decoder{policy, value, proposer, tilt}, p);
                });
            case kind::block_tq:
                return with_value(m, baseline, [&](auto&& value) {
                    collect(tq::block_decoder{proposer, value, block}, p, &proposer);
                });
            case kind::controlled_decoding:
                return collect(
                    tq::decoder{policy, tq::controlled_decoding_value(policy, reward, m.rollout),
                                policy, tilt},
                    p);
            case kind::blockwise_cd:
                return collect(tq::blockwise_controlled_decoding(policy, reward, block, m.rollout),
                               p, &policy);
            case kind::args:
                return collect(tq::decoder{policy, tq::args_value(policy, reward), proposer, tilt},
                               p);
            case kind::best_of_n:
                return collect(
                    tq::best_of_n(proposer, reward,
                                  {.n = m.n, .proposal = m.block.proposal, .seed = p.seed}),
                    p, &proposer);
            case kind::speculative_rejection:
                return collect(tq::speculative_rejection{proposer,
                                                         reward,
                                                         {.candidates = m.n,
                                                          .block = m.block.block,
                                                          .rejected = m.rejected,
                                                          .proposal = m.block.proposal,
                                                          .seed = p.seed}},
                               p, &proposer);
            case kind::segment_rejection: {
                tq::segment_rejection_options options = m.segments;
                options.seed = p.seed;
                return collect(tq::segment_rejection{proposer, reward, options}, p, &proposer);
            }
        }
    }

    /// Decodes the piece. Answers go to the journal as soon as they are done. The divergence of methods
    /// that choose among a proposer's texts is that of the choice plus log proposer(y) - log policy(y),
    /// with the proposer as it was drawn from.
    template <class Decoder>
    void collect(Decoder&& decoder, const piece& p, language_model* proposer = nullptr) {
        aside_ = 0;
        const std::size_t before = models_.tokens_decoded();
        const auto start = std::chrono::steady_clock::now();
        auto answers = decoder.generate_all(std::span{models_.prompts}.subspan(p.first, p.size),
                                            config_.tokens, p.first);
        std::vector<nlohmann::json> steps(p.size);
        std::vector<bool> told(p.size);
        std::size_t emitted = 0;
        for (auto part = answers.advance(); !part.empty(); part = answers.advance()) {
            for (const auto& step : part) {
                emitted += step.emitted().size();
                if (explored(p, step.prompt)) record(step, steps[step.prompt]);
            }
            for (std::size_t i = 0; i < p.size; ++i)
                if (answers.done(i) && !told[i]) {
                    told[i] = true;
                    keep(p, i, answers, proposer, std::move(steps[i]));
                }
            progress_(done_ + emitted, all_,
                      fmt::format("{}, seed {}, prompts {}-{}", p.method->name, p.seed,
                                  config_.first + p.first, config_.first + p.first + p.size - 1));
        }
        append_timing(
            timings_,
            {.method = p.method->name,
             .seconds =
                 std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
             .emitted = emitted,
             .decoded = models_.tokens_decoded() - before - aside_});
    }

    /// Are the steps of this prompt recorded?
    [[nodiscard]] bool explored(const piece& p, std::size_t prompt) const {
        using kind = method_kind;
        const kind is = p.method->kind;
        return (is == kind::tq || is == kind::controlled_decoding || is == kind::args) &&
               p.seed == 0 && p.first + prompt < config_.explored;
    }

    /// Adds a step, unless the answer's would be more than a journal and a page can take.
    void record(const tq::step& step, nlohmann::json& steps) const {
        if (steps.is_boolean()) return;
        if ((steps.size() + 1) * step.distribution.tokens.size() > most_recorded) {
            steps = false;
            return;
        }
        nlohmann::json line = step;
        for (nlohmann::json& candidate : line["candidates"])
            candidate["text"] = models_.file.piece(candidate["token"].get<tq::token_id>(), true);
        line["text"] = models_.file.piece(step.token, true);
        for (const char* key : {"race", "weights", "spent", "prompt"}) line.erase(key);
        steps.push_back(std::move(line));
    }
    static void record(const tq::block_step&, nlohmann::json&) {}

    template <class Answers>
    void keep(const piece& p, std::size_t i, const Answers& answers, language_model* proposer,
              nlohmann::json steps) {
        const answer_key key{p.method->name, p.seed, p.first + i};
        if (journal_.find(key) != nullptr) return;
        if (steps.is_boolean()) {
            program::say(
                fmt::format("{}, prompt {}: its steps are not recorded, for they have more than {} "
                            "candidates",
                            p.method->name, config_.first + p.first + i, most_recorded));
            steps = nullptr;
        }
        answer a{.key = key,
                 .text = as_written(models_.file.detokenize(answers.answer(i))),
                 .tokens = {answers.answer(i).begin(), answers.answer(i).end()},
                 .finished = answers.finished(i),
                 .kl = answers.kl(i),
                 .spent = answers.spent(i),
                 .steps = std::move(steps)};
        const tq::answer_view view{answers.prompt(i), answers.answer(i), answers.finished(i)};
        tq::score_answers(models_.judge, {&view, 1}, {&a.reward, 1}, "reward");
        if (proposer != nullptr) a.kl += proposer_divergence(*p.method, *proposer, view);
        journal_.add(std::move(a));
    }

    /// log proposer(y) - log policy(y), the proposer at the temperature that it was drawn with.
    [[nodiscard]] double proposer_divergence(const method_config& m, language_model& proposer,
                                             const tq::answer_view& view) {
        const double temperature = m.kind == method_kind::segment_rejection
                                       ? m.segments.proposal.temperature
                                       : m.block.proposal.temperature;
        if (&proposer == &models_.policy && temperature == 1) return 0;
        // Greedy proposals are certain.
        const double drawn = temperature == 0 ? 0 : log_probability(proposer, view, temperature);
        return drawn - log_probability(models_.policy, view, 1);
    }

    [[nodiscard]] double log_probability(language_model& model, const tq::answer_view& view,
                                         double temperature) {
        tq::token_list sequence{view.prompt.begin(), view.prompt.end()};
        sequence.insert(sequence.end(), view.answer.begin(), view.answer.end());
        const tq::continuation_view continuation{.sequence = sequence,
                                                 .start = view.prompt.size(),
                                                 .finished = view.finished,
                                                 .end_tokens = models_.file.end_tokens()};
        const std::size_t before = models_.tokens_decoded();
        const double result = tq::log_probabilities(model, {&continuation, 1}, temperature).front();
        aside_ += models_.tokens_decoded() - before;
        return result;
    }

    static constexpr std::size_t most_recorded = 100'000;  // candidates of an answer

    const config& config_;
    journal& journal_;
    const std::filesystem::path& timings_;
    const progress_report& progress_;
    models models_;
    std::size_t done_ = 0, all_ = 0;
    std::size_t aside_ = 0;  // tokens read to measure, not to decode
};

}  // namespace

void decode_missing(const config& c, const std::vector<prompt>& prompts, journal& journal,
                    const std::filesystem::path& timings, std::size_t threads,
                    const progress_report& progress) {
    for (const method_config& m : c.methods) journal.check(m);
    std::vector<piece> missing;
    std::size_t all = 0;
    for (const piece& p : pieces_of(c)) {
        bool complete = true;
        for (std::size_t i = 0; i < p.size; ++i)
            complete = complete && journal.find({p.method->name, p.seed, p.first + i}) != nullptr;
        if (complete) continue;
        missing.push_back(p);
        all += p.size * c.tokens;
    }
    if (missing.empty()) return;
    worker work{c, prompts, journal, timings, threads, progress};
    std::size_t done = 0;
    for (const piece& p : missing) {
        work.run(p, done, all);
        done += p.size * c.tokens;
    }
}

}  // namespace evaluation
