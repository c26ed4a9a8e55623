// estimators: indirect and soft transfer estimated from rollouts, against enumeration. No model.
//
// On random worlds that can be enumerated: do intervals cover, do errors fall as 1 / sqrt(n), is soft
// transfer exact where it should be, do the bounds hold, is Pareto smoothing that of arviz-stats; and
// which way of weighting errs least, by number of rollouts and by how much the baseline's reward
// has to do with the target. The last is what the default rule was chosen by.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/estimate/bounds.hpp>
#include <tq/tabular/gap.hpp>
#include <tq/tq.hpp>
#include <tq/transfer/soft.hpp>
#include <vector>

#include "support/counted_worlds.hpp"
#include "support/psis_record.hpp"
#include "support/soft_ends.hpp"
#include "support/weighted_worlds.hpp"

namespace {

using namespace tq::tabular;
using tq::weighting;

constexpr tq::weight_options raw{.guard = false, .on_collapse = tq::collapse_action::warn};

double squared(double x) { return x * x; }

/// How often something held.
struct share {
    std::size_t held = 0, counted = 0;
    void add(bool ok) {
        held += ok;
        ++counted;
    }
    [[nodiscard]] double value() const {
        return static_cast<double>(held) / static_cast<double>(counted);
    }
};

bool holds(const tq::value_estimate& estimate, double truth) {
    const tq::mean_interval interval = tq::normal_interval(estimate);
    return interval.lo - 1e-12 <= truth && truth <= interval.hi + 1e-12;
}

/// Coverage of the 95 % interval and the rate of convergence, self-normalised weights.
void run_coverage(std::uint64_t worlds, nlohmann::json& json) {
    fmt::print(
        "{} worlds; coverage of the 95 % interval of indirect Q; error over its exact asymptotic "
        "size\n\n",
        worlds);
    fmt::print("{:>9}  {:>14} {:>14} {:>14} {:>14}  {:>12}  {:>10}\n", "rollouts", "k-hat < 0.5",
               "0.5 to 0.7", "above 0.7", "default rule", "error/exact", "collapsed");
    double first = 0, last = 0;
    for (const std::size_t n : {16U, 64U, 256U, 1000U, 4000U}) {
        share good, fair, bad, guarded;
        double relative = 0, noisy = 0, collapsed = 0, squares = 0;
        for (std::uint64_t number = 0; number < worlds; ++number) {
            const tq::test::weighted_world w{number};
            const double q = w.exact_q(), variance = w.exact_variance();
            if (variance < 1e-12) continue;  // nothing to estimate
            const tq::test::rollouts all = w.draw(n, 7'000 + number);
            const auto estimate = tq::importance_estimate(all.rewards, all.log_weights, raw);
            const tq::tail_verdict verdict = tq::verdict_of(estimate.weights->k_hat);
            if (verdict == tq::tail_verdict::good) good.add(holds(estimate, q));
            if (verdict == tq::tail_verdict::fair) fair.add(holds(estimate, q));
            if (verdict >= tq::tail_verdict::bad) bad.add(holds(estimate, q));
            guarded.add(holds(tq::importance_estimate(all.rewards, all.log_weights), q));
            relative += squared(estimate.q - q) / variance * static_cast<double>(n);
            squares += squared(estimate.q - q);
            collapsed += estimate.weights->collapsed;
            ++noisy;
        }
        const auto cell = [](const share& s) {
            return s.counted < 20 ? std::string{"-"}
                                  : fmt::format("{:.3f} ({})", s.value(), s.counted);
        };
        fmt::print("{:>9}  {:>14} {:>14} {:>14} {:>14}  {:>12.2f}  {:>10.3f}\n", n, cell(good),
                   cell(fair), cell(bad), cell(guarded), std::sqrt(relative / noisy),
                   collapsed / noisy);
        if (n == 1000) json["coverage95"] = good.value();
        if (n == 1000) json["coverage95_default"] = guarded.value();
        if (n == 256) first = squares;
        last = squares;
    }
    json["rate"] = std::log(std::sqrt(first / last)) / std::log(4000.0 / 256);
    fmt::print("\nerror falls as n^-{:.2f} from 256 to 4000 rollouts\n\n",
               json["rate"].get<double>());
}

/// Soft and hard transfer with the exact baseline, and the bounds.
void run_exact(std::uint64_t worlds, nlohmann::json& json) {
    double soft_gap = 0, soft_variance = 0, hard_gap = 0;
    std::size_t violations = 0, hard_positive = 0, gap_checks = 0;
    tq::test::for_worlds(worlds, [&](const tq::test::small_world& w, std::uint64_t number) {
        const node_values logs = implicit_weights(w.tree, w.sft, w.baseline, w.rewards, w.beta);
        const node_values sft = log_reach(w.tree, w.sft), base = log_reach(w.tree, w.baseline);
        node_values q(w.tree.size());
        for (node_id u = 1; u < w.tree.size(); ++u) {
            std::vector<double> drawn;
            for (std::uint64_t i = 0; i < 4; ++i)
                drawn.push_back(logs[draw_answer(w.tree, w.baseline, u,
                                                 tq::random_key{number}.fold_in(u).fold_in(i))] -
                                sft[u] + base[u]);
            const tq::value_estimate estimate = tq::soft_estimate(drawn, {.beta = w.beta});
            q[u] = estimate.q;
            soft_variance = std::max(soft_variance, 4 * squared(estimate.standard_error));
        }
        const node_values direct = expectation(w.tree, w.baseline, w.rewards);
        const auto gap = [&](const node_values& values) {
            return regularised_gap(w.tree, w.sft, tilted(w.tree, w.sft, values, w.beta), w.rewards,
                                   w.beta);
        };
        soft_gap = std::max(soft_gap, std::abs(gap(q)));
        hard_gap += gap(direct) / static_cast<double>(worlds);
        hard_positive += gap(direct) > 1e-9;

        const log_policy decoded = tilted(w.tree, w.sft, direct, w.alpha);
        const log_policy anchored = tilted(w.tree, w.baseline, direct, w.alpha);
        const gap_terms t = gap_of(w.tree, w.sft, w.baseline, decoded, w.rewards);
        const auto [lo, hi] = std::ranges::minmax(w.rewards);
        const std::size_t length = w.tree.depth();
        const auto above = [](double value, double bound) { return value > bound + 1e-11; };
        violations += above(t.gap, t.bound(w.alpha, w.beta));
        violations += above(t.gap, t.sharp_bound(w.alpha, w.beta));
        violations += above(std::abs(t.gap - t.identity(w.alpha, w.beta)), 0);
        violations += above(t.decoder_policy, tq::policy_anchor_kl_bound(w.alpha, length, hi - lo));
        violations += above(t.baseline_policy, tq::aligned_kl_bound(w.beta, hi - lo));
        violations += above(answer_kl(w.tree, anchored, w.sft),
                            tq::baseline_anchor_kl_bound(w.alpha, w.beta, length, hi - lo));
        gap_checks += 6;
    });
    fmt::print(
        "with the exact baseline, alpha = beta: soft transfer (4 rollouts per candidate) misses "
        "the\n"
        "regularised optimum by at most {:.1e}, variance of a rollout at most {:.1e}; the hard\n"
        "expectation misses it by {:.4f} on average, by more than 1e-9 in {} of {} worlds\n"
        "{} bounds and identities checked, {} violated\n",
        soft_gap, soft_variance, hard_gap, hard_positive, worlds, gap_checks, violations);
    json["soft_gap"] = soft_gap;
    json["soft_variance"] = soft_variance;
    json["hard_gap_mean"] = hard_gap;
    json["hard_gap_positive"] = hard_positive;
    json["bound_violations"] = violations;
}

void run_psis(nlohmann::json& json) {
    double largest = 0;
    const auto cases = tq::test::read_psis_record();
    for (const tq::test::psis_case& recorded : cases) {
        std::vector<double> logs = recorded.log_weights;
        const double k = tq::pareto_smooth(logs);
        const double total = tq::log_sum_exp(std::span<const double>{logs});
        largest = std::max(largest, std::abs(k - recorded.k_hat));
        for (std::size_t i = 0; i < logs.size(); ++i)
            largest = std::max(largest, std::abs(logs[i] - total - recorded.smoothed[i]));
    }
    fmt::print(
        "Pareto smoothing and k-hat differ from arviz-stats by at most {:.1e} on {} vectors\n\n",
        largest, cases.size());
    json["psis_max_abs_difference"] = largest;
}

/// A world of 4 tokens and 6 steps whose rewards are sums over pairs of tokens; the baseline's reward has
/// a given correlation with the target.
struct pair_world {
    static constexpr std::size_t vocabulary = 4, length = 6;
    static constexpr double beta = 1.3;
    tree world{vocabulary, length};
    log_policy sft, baseline;
    node_values rewards, other, log_weights;  // r, r_BL, of prefixes too

    pair_world(std::uint64_t number, double correlation)
        : sft(world.size()),
          rewards(world.size()),
          other(world.size()) {
        const tq::random_key key = tq::random_key{42}.fold_in(number);
        const auto normal = [&](std::uint64_t table, std::size_t pair) {
            const tq::random_key own = key.fold_in(table);
            return std::sqrt(-2 * std::log(own.uniform(2 * pair))) *
                   std::cos(2 * 3.14159265358979323846 * own.uniform(2 * pair + 1));
        };
        for (node_id node = 1; node < world.size(); ++node) {
            const node_id parent = world.parent(node);
            const std::size_t from =
                parent == tree::root() ? 0 : static_cast<std::size_t>(world.token(parent));
            const std::size_t pair =
                from * vocabulary + static_cast<std::size_t>(world.token(node));
            const double target = normal(1, pair);
            sft[node] = normal(0, pair);
            rewards[node] = rewards[parent] + target;
            other[node] = other[parent] + correlation * target +
                          std::sqrt(1 - squared(correlation)) * normal(2, pair);
        }
        sft = normalise(world, std::move(sft));
        baseline = aligned(world, sft, other, beta);
        log_weights = implicit_weights(world, sft, baseline, rewards, beta);
    }
};

/// Soft transfer at a state where the answer may end at once, from imperfect baselines: how likely the
/// decoder is to end it. The value of an end is exact, those of the others are estimates, biased if
/// each is tempered alone.
void run_soft_ends(std::uint64_t worlds, nlohmann::json& json) {
    constexpr std::size_t repeats = 60;
    fmt::print("soft transfer: P(end at once), mean of {} worlds, drawn {} times each\n\n", worlds,
               repeats);
    fmt::print("{:>5} {:>6} {:>9} {:>7} {:>8} {:>8} {:>12} {:>15}\n", "beta", "noise", "rollouts",
               "exact", "P(end)", "bias", "|bias|/world", "tempered alone");
    double worst = 0;
    for (const double beta : {0.1, 0.3, 1.0})
        for (const double noise : {0.3, 1.0, 2.0})
            for (const std::size_t n : {4U, 16U, 64U}) {
                const tq::test::soft_ends ends =
                    tq::test::measure_soft_ends(77, worlds, repeats, beta, noise, n);
                const tq::test::soft_ends alone =
                    tq::test::measure_soft_ends(77, worlds, repeats, beta, noise, n,
                                                {.weights = {.form = weighting::tempered}});
                fmt::print("{:>5} {:>6} {:>9} {:>7.3f} {:>8.3f} {:>+8.3f} {:>12.3f} {:>15.3f}\n",
                           beta, noise, n, ends.exact, ends.found, ends.found - ends.exact,
                           ends.apart, alone.found);
                if (n == 16) worst = std::max(worst, std::abs(ends.found - ends.exact));
            }
    fmt::print("\n");
    json["soft_end_bias"] = worst;
}

/// Weights as of implicit_weights that somebody else has found.
struct beta_only {
    static constexpr bool unit_ratios = true;
    [[nodiscard]] static double beta() noexcept { return pair_world::beta; }
};

/// Model tokens counted over tokens read, in every race and with every prior.
void run_counts(nlohmann::json& json) {
    double worst = 0;
    std::size_t settings = 0;
    tq::test::for_each_count(
        [&](const tq::decode_options& options, tq::test::prior from, bool own) {
            worst = std::max(worst, std::abs(tq::test::count_error(options, from, own)));
            ++settings;
        });
    fmt::print(
        "model tokens counted and read differ by at most {:.1f} % of an answer, in {} settings\n\n",
        100 * worst, settings);
    json["count_error"] = worst;
}

/// One way of estimating: errors of the differences between candidates, and the reward that is lost by
/// trusting the best.
struct method {
    std::string name;
    bool soft;
    weighting form;
    bool guard, jackknife;
    double squares = 0, regret = 0;

    /// Values of the candidates of a state.
    [[nodiscard]] std::vector<double> operator()(
        std::span<const tq::judged_candidate> candidates) const {
        const tq::weight_options options{.form = form, .guard = guard};
        std::vector<tq::value_estimate> values(candidates.size());
        if (soft) {
            const tq::soft estimator{beta_only{}, {.jackknife = jackknife, .weights = options}};
            estimator.estimate_together(candidates, {}, values);
        } else {
            for (std::size_t z = 0; z < candidates.size(); ++z)
                values[z] = tq::importance_estimate(candidates[z].rewards,
                                                    candidates[z].log_weights, options);
        }
        std::vector<double> result;
        for (const tq::value_estimate& value : values) result.push_back(value.q);
        return result;
    }

    void add(const std::vector<double>& estimates, const std::vector<double>& truth) {
        double mean = 0;
        for (std::size_t z = 0; z < truth.size(); ++z)
            mean += (estimates[z] - truth[z]) / static_cast<double>(truth.size());
        for (std::size_t z = 0; z < truth.size(); ++z)
            squares += squared(estimates[z] - truth[z] - mean) / static_cast<double>(truth.size());
        const auto best = std::ranges::max_element(estimates) - estimates.begin();
        regret += *std::ranges::max_element(truth) - truth[static_cast<std::size_t>(best)];
    }
};

std::vector<method> all_methods() {
    return {{"unweighted", false, weighting::unweighted, false, false},
            {"self-norm.", false, weighting::self_normalised, false, false},
            {"tempered", false, weighting::tempered, false, false},
            {"clipped", false, weighting::clipped, false, false},
            {"PSIS", false, weighting::pareto_smoothed, false, false},
            {"reference", false, weighting::reference, false, false},
            {"default", false, weighting::self_normalised, true, false},
            {"unweighted", true, weighting::unweighted, false, false},
            {"log mean", true, weighting::plain, false, false},
            {"jackknife", true, weighting::plain, false, true},
            {"tempered", true, weighting::tempered, false, false},
            {"clipped", true, weighting::clipped, false, false},
            {"PSIS", true, weighting::pareto_smoothed, false, false},
            {"default", true, weighting::self_normalised, true, false}};
}

void print_methods(const std::vector<method>& methods, bool soft, double correlation, std::size_t n,
                   double ess, double worlds) {
    fmt::print("{:>5} {:>5} {:>5.2f} ", correlation, n, ess);
    for (const method& m : methods)
        if (m.soft == soft) {
            const std::string rmse = m.form == weighting::reference
                                         ? "-"
                                         : fmt::format("{:.2f}", std::sqrt(m.squares / worlds));
            fmt::print(" {:>10}", fmt::format("{}/{:.2f}", rmse, m.regret / worlds));
        }
    fmt::print("\n");
}

/// Tables by method. reference gets the weights it was made for, the rewards' difference.
void run_methods(std::uint64_t worlds, nlohmann::json& json) {
    struct row {
        double correlation, ess;
        std::size_t n;
        std::vector<method> methods;
    };
    std::vector<row> rows;
    for (const double correlation : {0.95, 0.7, 0.0})
        for (const std::size_t n : {2U, 4U, 8U, 16U, 64U, 256U, 1024U})
            rows.push_back({correlation, 0, n, all_methods()});
    const auto candidates = static_cast<double>(pair_world::vocabulary);
    for (row& r : rows)
        for (std::uint64_t number = 0; number < worlds; ++number) {
            const pair_world w{number, r.correlation};
            const node_values hard =
                importance_value(w.world, w.baseline, w.log_weights, w.rewards);
            const node_values soft = soft_value(w.world, w.sft, w.rewards, pair_world::beta);
            std::vector<double> truth[2];
            std::vector<std::vector<double>> rewards(pair_world::vocabulary), logs = rewards,
                                                                              reference = rewards;
            for (std::size_t z = 0; z < pair_world::vocabulary; ++z) {
                const node_id u = w.world.child(0, z);
                const double shift = w.sft[u] - w.baseline[u];
                for (std::uint64_t i = 0; i < r.n; ++i) {
                    const node_id leaf =
                        draw_answer(w.world, w.baseline, u,
                                    tq::random_key{9}.fold_in(number).fold_in(z).fold_in(i));
                    rewards[z].push_back(w.rewards[leaf]);
                    logs[z].push_back(w.log_weights[leaf] - shift);
                    reference[z].push_back(
                        tq::reference_log_weight(w.rewards[leaf], w.other[leaf]));
                }
                r.ess += tq::diagnose_weights(logs[z]).ess / static_cast<double>(r.n) / candidates /
                         static_cast<double>(worlds);
                truth[0].push_back(hard[u]);
                truth[1].push_back(soft[u]);
            }
            std::vector<tq::judged_candidate> usual, replayed;
            for (std::size_t z = 0; z < pair_world::vocabulary; ++z) {
                usual.push_back({rewards[z], logs[z]});
                replayed.push_back({rewards[z], reference[z]});
            }
            for (method& m : r.methods)
                m.add(m(m.form == weighting::reference ? replayed : usual), truth[m.soft]);
        }
    double worst[2] = {0, 0};
    for (const bool soft : {false, true}) {
        fmt::print("{} transfer: error of Q's differences / reward lost by the best; {} worlds\n\n",
                   soft ? "soft" : "indirect", worlds);
        fmt::print("{:>5} {:>5} {:>5} ", "corr.", "n", "ESS/n");
        for (const method& m : all_methods())
            if (m.soft == soft) fmt::print(" {:>10}", m.name);
        fmt::print("\n");
        for (const row& r : rows) {
            print_methods(r.methods, soft, r.correlation, r.n, r.ess, static_cast<double>(worlds));
            double best = HUGE_VAL, guarded = 0;
            for (const method& m : r.methods) {
                if (m.soft != soft) continue;
                if (m.form == weighting::unweighted || m.form == weighting::plain ||
                    m.form == weighting::self_normalised)
                    best = std::min(best, m.squares);
                if (m.guard) guarded = m.squares;
            }
            worst[soft] = std::max(worst[soft], std::sqrt(guarded / best));
        }
        fmt::print("\n");
    }
    json["default_over_best"] = worst[0];
    json["default_over_best_soft"] = worst[1];
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Estimators of indirect and soft transfer against enumeration."};
    std::uint64_t worlds = 1000, method_worlds = 300;
    bool quick = false;
    app.add_flag("--quick", quick, "200 worlds, 60 in the tables by method");
    app.add_option("--worlds", worlds, "random worlds")->check(CLI::Range(1, 1'000'000));
    CLI11_PARSE(app, argc, argv);
    if (quick) worlds = 200, method_worlds = 60;
    try {
        nlohmann::json json{{"worlds", worlds}};
        run_coverage(worlds, json);
        run_exact(worlds, json);
        run_psis(json);
        run_soft_ends(method_worlds / 6, json);
        run_counts(json);
        run_methods(method_worlds, json);
        fmt::print("{}\n", json.dump());
    } catch (const std::exception& error) {
        fmt::print(stderr, "estimators: {}\n", error.what());
        return 1;
    }
}
