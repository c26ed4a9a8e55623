// decode_vs_reference: tq against the algorithm as its authors run it, in PyTorch and transformers.
//
// benchmarks/reference/decode_vs_reference decodes some prompts that way and writes what it did to a
// file. tq decodes the same prompts with the same weights, reward and options: the file tells them.
// One model is policy and baseline on both sides. The reference takes one prompt at a time; tq does
// that, and all prompts together. The reference's rollouts run past the answer's limit, so tq's do too
// in the rows to compare; the rows marked "capped" are tq as it is meant to be used, with rollouts
// that end where the answer ends. All final answers are scored by one and the same scorer, which has
// seen nothing else.
//
// Checked: the tokens of the prompts; that the logits after them are the reference's far more than
// those of the model without its adapter are; that in the reference's own states Q differs between the
// two sides far less than between candidates; its own rewards against the scorer; the lengths of the
// answers and the rewards' range.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../examples/programs/support/defaults.hpp"
#include "../examples/programs/support/timed.hpp"

namespace {

namespace llama = tq::llama_cpp;
using nlohmann::json;

/// What the reference was asked to do, and so what tq does.
struct settings {
    explicit settings(const json& given)
        : decode{.alpha = given.at("alpha"),
                 .top_k = given.at("top_k"),
                 .select = tq::selection::argmax},
          horizon{given.at("horizon")},
          tokens{given.at("tokens")},
          threads{given.at("threads")},
          cap{given.at("cap")} {}

    tq::decode_options decode;
    std::size_t horizon, tokens, threads;
    bool cap;  // rollouts end where the answer ends
};

/// One way of decoding: what it took and what it said.
struct outcome {
    std::string name;
    double seconds = 0;
    std::size_t steps = 0, model_tokens = 0;
    std::vector<tq::token_list> answers = {};  // [prompts], up to the end token
    std::vector<double> rewards = {};          // [prompts], by the one scorer

    [[nodiscard]] double speed() const { return static_cast<double>(steps) / seconds; }
    [[nodiscard]] double reward() const { return tq::mean_estimate(rewards).q; }
};

/// How like the two sides' decisions are in the same states, those of the reference's answers.
struct likeness {
    double same_tokens = 0;   // share of the decisions
    double q_difference = 0;  // median over the decisions and their candidates
};

/// How tq decodes.
struct manner {
    tq::race_mode race;
    bool reuse;
    bool cap;  // rollouts end where the answer ends
};

[[noreturn]] void fail(const std::string& what) {
    throw tq::backend_error{"decode_vs_reference: " + what};
}

/// The share of a's tokens that b has too, at the same place and with no difference before it.
double agreement(const outcome& a, const outcome& b) {
    std::size_t same = 0, all = 0;
    for (std::size_t i = 0; i < a.answers.size(); ++i) {
        const tq::token_list &x = a.answers[i], &y = b.answers[i];
        const auto shorter = static_cast<std::ptrdiff_t>(std::min(x.size(), y.size()));
        const auto differs = std::mismatch(x.begin(), x.begin() + shorter, y.begin()).first;
        same += static_cast<std::size_t>(differs - x.begin());
        all += x.size();
    }
    return static_cast<double>(same) / static_cast<double>(all);
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

class bench {
public:
    explicit bench(const json& reference)
        : options_(reference.at("settings")),
          answers_(reference.at("answers")),
          file_{demo_defaults::model()},
          model_{file_, context(demo_defaults::baseline_lora())},
          reward_{file_, demo_defaults::reward_head(), context({})},
          scorer_{file_, demo_defaults::reward_head(), {.threads = options_.threads}} {
        for (const json& answer : answers_)
            prompts_.push_back(file_.chat_prompt(answer.at("prompt").get<std::string>()));
    }

    [[nodiscard]] const settings& options() const noexcept { return options_; }
    [[nodiscard]] std::size_t prompts() const noexcept { return prompts_.size(); }

    /// What the reference did. Throws unless it is what it should have done.
    outcome reference() {
        outcome result{.name = "reference"};
        for (std::size_t i = 0; i < prompts_.size(); ++i) {
            const json& answer = answers_[i];
            if (answer.at("prompt_tokens").get<tq::token_list>() != prompts_[i])
                fail(fmt::format("prompt {} has other tokens in the reference", i));
            tq::token_list tokens;
            for (const json& step : answer.at("steps")) {
                tokens.push_back(step.at("token"));
                result.seconds += step.at("seconds").get<double>();
                ++result.steps;
            }
            result.answers.push_back(up_to_end(std::move(tokens)));
            check_reward(answer);
        }
        score(result);
        return result;
    }

    /// tq, `together` prompts at a time, from empty caches.
    outcome decode(std::string name, const manner& how, std::size_t together) {
        outcome result{.name = std::move(name)};
        for (std::size_t i = 0; i < prompts_.size(); i += together) {
            fmt::print(stderr, "\r\033[K{}: prompt {}/{}", result.name, i + 1, prompts_.size());
            decode_some(std::span{prompts_}.subspan(i, std::min(together, prompts_.size() - i)),
                        how, result);
        }
        fmt::print(stderr, "\r\033[K");
        score(result);
        return result;
    }

    /// The largest difference between the two sides' logits of the first candidates, a constant
    /// per prompt left out. Throws unless ours are nearer to the reference's, by half, than those of
    /// the model without its adapter: then the models cannot be the same.
    double logit_difference() {
        llama::language_model unadapted{file_, context({})};
        double worst = 0, ours = 0, without = 0;
        for (std::size_t i = 0; i < prompts_.size(); ++i) {
            for (const double difference : logit_differences(model_, i)) {
                worst = std::max(worst, std::abs(difference));
                ours += difference * difference;
            }
            for (const double difference : logit_differences(unadapted, i))
                without += difference * difference;
        }
        if (!(ours < without / 4))
            fail(
                fmt::format("logits differ by {:.2f}, nearly as much as without the adapter: not "
                            "the same model",
                            worst));
        return worst;
    }

    /// Float noise may turn a rollout at a near tie of two tokens, so a few Q differ by much: the
    /// median tells whether both sides do the same. Throws if it is not below half of what the
    /// reference's own Q differ by from their mean in a state.
    likeness compare_decisions() {
        tq::direct_transfer q{model_, reward_, {.horizon = options_.horizon}};
        tq::decoder decoder{model_, q, options_.decode};
        std::vector<double> same, differences, spread;
        for (std::size_t i = 0; i < prompts_.size(); ++i) {
            tq::token_list sequence = prompts_[i];
            for (const json& theirs : answers_[i].at("steps")) {
                const tq::decode_state state{
                    .sequence = sequence,
                    .prompt_size = prompts_[i].size(),
                    .tokens_left = limit(options_.cap) - (sequence.size() - prompts_[i].size()),
                    .end_tokens = decoder.end_tokens()};
                const tq::step ours = decoder.next({&state, 1}).front();
                same.push_back(ours.token == theirs.at("token").get<tq::token_id>() ? 1 : 0);
                add_differences(ours.distribution, theirs, differences);
                const std::vector<double> values = theirs.at("q");
                for (const double value : values)
                    spread.push_back(std::abs(value - tq::mean_estimate(values).q));
                sequence.push_back(theirs.at("token"));
            }
        }
        const double difference = median(differences);
        if (!(difference < median(spread) / 2))
            fail(fmt::format("Q differs by {:.3f} in the median, candidates by {:.3f}", difference,
                             median(spread)));
        return {tq::mean_estimate(same).q, difference};
    }

private:
    /// Of the first candidates after a prompt, their mean left out.
    [[nodiscard]] std::vector<double> logit_differences(llama::language_model& model,
                                                        std::size_t prompt) const {
        const json& step = answers_[prompt].at("steps").at(0);
        const tq::token_list tokens = step.at("candidates");
        const std::vector<double> logits = step.at("logits");
        const tq::token_view view{prompts_[prompt]};
        const tq::logits_view row = model.next_logits({&view, 1}).front();
        std::vector<double> differences;
        for (std::size_t j = 0; j < tokens.size(); ++j)
            differences.push_back(static_cast<double>(row[static_cast<std::size_t>(tokens[j])]) -
                                  logits[j]);
        const double middle = tq::mean_estimate(differences).q;
        for (double& difference : differences) difference -= middle;
        return differences;
    }

    /// The answer's limit; without the cap it is moved away by the horizon, so that no rollout
    /// meets it.
    [[nodiscard]] std::size_t limit(bool cap) const {
        return options_.tokens + (cap ? 0 : options_.horizon);
    }

    static void add_differences(const tq::tilted_distribution& ours, const json& theirs,
                                std::vector<double>& differences) {
        const tq::token_list candidates = theirs.at("candidates");
        for (std::size_t i = 0; i < candidates.size(); ++i)
            for (std::size_t j = 0; j < ours.size(); ++j)
                if (ours.tokens[j] == candidates[i])
                    differences.push_back(std::abs(ours.q[j] - theirs.at("q").at(i).get<double>()));
    }

    [[nodiscard]] tq::token_list up_to_end(tq::token_list tokens) const {
        const tq::token_view ends = model_.end_tokens();
        tokens.erase(std::find_first_of(tokens.begin(), tokens.end(), ends.begin(), ends.end()),
                     tokens.end());
        return tokens;
    }

    /// The reference's reward of its own text, against the scorer's.
    void check_reward(const json& answer) {
        const tq::token_list text =
            file_.tokenize(answer.at("text").get<std::string>(), {.parse_special = true});
        const tq::answer_view judged{.prompt = {}, .answer = text};
        double ours = 0;
        const double theirs = answer.at("reward");
        tq::score_answers(scorer_, {&judged, 1}, {&ours, 1});
        if (!(std::abs(ours - theirs) < 0.1))
            fail(fmt::format("the reference scores its answer {:.3f}, tq {:.3f}", theirs, ours));
    }

    void decode_some(std::span<const tq::token_list> prompts, const manner& how, outcome& result) {
        model_.clear_cache();
        reward_.clear_cache();
        tq::decode_options decode = options_.decode;
        decode.race = how.race;
        const std::size_t before = model_.tokens_decoded() + reward_.tokens_decoded();
        const auto start = std::chrono::steady_clock::now();
        tq::direct_transfer q{model_, reward_, {.horizon = options_.horizon, .reuse = how.reuse}};
        tq::decoder decoder{model_, q, decode};
        auto answers = decoder.generate_all(prompts, limit(how.cap));
        for (std::size_t i = 0; i < options_.tokens; ++i) result.steps += answers.advance().size();
        result.seconds += seconds_since(start);
        result.model_tokens += model_.tokens_decoded() + reward_.tokens_decoded() - before;
        for (std::size_t i = 0; i < answers.size(); ++i)
            result.answers.emplace_back(answers.answer(i).begin(), answers.answer(i).end());
    }

    [[nodiscard]] llama::language_model_options context(const std::string& lora) const {
        return {.lora = lora, .context = 16384, .max_sequences = 128, .threads = options_.threads};
    }

    void score(outcome& result) {
        for (std::size_t i = 0; i < prompts_.size(); ++i) {
            const tq::answer_view answer{.prompt = prompts_[i], .answer = result.answers[i]};
            if (answer.answer.size() > options_.tokens)
                fail(fmt::format("an answer of {} is longer than its limit", result.name));
            double reward = 0;
            tq::score_answers(scorer_, {&answer, 1}, {&reward, 1});
            if (!(reward >= 0 && reward <= 1))
                fail(fmt::format("{}: reward {} is outside [0, 1]", result.name, reward));
            result.rewards.push_back(reward);
        }
    }

    settings options_;
    json answers_;
    llama::model_file file_;
    llama::language_model model_;
    llama::reward_head reward_, scorer_;
    std::vector<tq::token_list> prompts_;
};

void print_row(const outcome& row, const outcome& reference) {
    const std::string cost = row.model_tokens == 0
                                 ? "-"
                                 : fmt::format("{:.1f}", static_cast<double>(row.model_tokens) /
                                                             static_cast<double>(row.steps));
    fmt::print("{:<34} {:>9.2f} {:>9.1f} {:>16} {:>9.3f} {:>11.2f}\n", row.name, row.speed(),
               row.speed() / reference.speed(), cost, row.reward(), agreement(reference, row));
}

/// The rows that are compared, by their names in the figures.
using outcomes = std::map<std::string, outcome>;

json figures(const outcome& reference, const outcomes& ours) {
    json result{{"tokens_per_s_reference", reference.speed()},
                {"reward_reference", reference.reward()}};
    for (const auto& [name, row] : ours) {
        result["tokens_per_s_" + name] = row.speed();
        result["speedup_" + name] = row.speed() / reference.speed();
        result["reward_" + name] = row.reward();
    }
    result["reward_difference"] = ours.at("exact_reuse").reward() - reference.reward();
    result["token_agreement"] = agreement(reference, ours.at("exact_reuse"));
    result["token_agreement_exhaustive"] = agreement(reference, ours.at("exhaustive"));
    return result;
}

void print_header(const bench& bench, const json& given) {
    const settings& options = bench.options();
    fmt::print(
        "{} prompt(s), {} tokens; alpha {}, top_k {}, horizon {}{}, greedy "
        "rollouts, "
        "argmax\n"
        "reference: PyTorch {}, transformers {}, {}; tq: {}; {} threads each\n\n"
        "{:<34} {:>9} {:>9} {:>16} {:>9} {:>11}\n",
        bench.prompts(), options.tokens, options.decode.alpha, options.decode.top_k,
        options.horizon, options.cap ? " (capped)" : "", given.at("torch").get<std::string>(),
        given.at("transformers").get<std::string>(), given.at("dtype").get<std::string>(),
        std::filesystem::path{demo_defaults::model()}.filename().string(), options.threads, "",
        "tokens/s", "speedup", "model tok./tok.", "reward", "agreement");
}

/// Both sides in the same states.
json compare_models(bench& bench) {
    const likeness alike = bench.compare_decisions();
    return {{"same_decisions", alike.same_tokens},
            {"q_difference", alike.q_difference},
            {"logit_difference", bench.logit_difference()}};
}

void print_models(const json& compared) {
    fmt::print(
        "\nin the reference's own states tq takes the same token in {:.0f} % of the decisions; "
        "median difference of Q {:.3f}, largest of logits {:.2f}\n",
        100 * compared.at("same_decisions").get<double>(),
        compared.at("q_difference").get<double>(), compared.at("logit_difference").get<double>());
}

void run(const std::string& file) {
    const json given = json::parse(std::ifstream{file});
    bench bench{given};
    const outcome reference = bench.reference();
    const json compared = compare_models(bench);
    constexpr auto all = tq::race_mode::exhaustive, exact = tq::race_mode::exact;
    const bool cap = bench.options().cap;
    const std::size_t together = bench.prompts();
    print_header(bench, given.at("settings"));
    print_row(reference, reference);
    outcomes ours;
    const auto row = [&](const char* key, const char* name, const manner& how, std::size_t width) {
        print_row(ours[key] = bench.decode(name, how, width), reference);
    };
    row("exhaustive", "tq exhaustive", {all, false, cap}, 1);
    row("exact_reuse", "tq exact + reuse", {exact, true, cap}, 1);
    row("exhaustive_together", "tq exhaustive, all prompts at once", {all, false, cap}, together);
    row("exact_reuse_together", "tq exact + reuse, all at once", {exact, true, cap}, together);
    if (!cap) {
        row("capped", "tq exact + reuse, capped", {exact, true, true}, 1);
        row("capped_together", "tq exact + reuse, capped, at once", {exact, true, true}, together);
    }
    print_models(compared);
    json result = figures(reference, ours);
    result.update(compared);
    result["prompts"] = bench.prompts();
    for (const char* key : {"tokens", "cap", "alpha", "top_k", "horizon", "dtype", "threads"})
        result[key] = given.at("settings").at(key);
    fmt::print("\n{}\n", result.dump());
}

}  // namespace

int main(int argc, char** argv) {
    std::string reference;
    CLI::App app{"tq against the authors' algorithm in PyTorch and transformers"};
    app.add_option("--reference", reference, "what benchmarks/reference/decode_vs_reference wrote")
        ->required()
        ->check(CLI::ExistingFile);
    CLI11_PARSE(app, argc, argv);
    try {
        run(reference);
    } catch (const std::exception& error) {
        fmt::print(stderr, "decode_vs_reference: {}\n", error.what());
        return 1;
    }
}
