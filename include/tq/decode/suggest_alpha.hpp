#pragma once
// alpha from how far apart the candidates of a state are.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../concepts/policy.hpp"
#include "../core/error.hpp"
#include "decoder.hpp"

namespace tq {

/// What suggest_alpha found.
struct alpha_suggestion {
    double alpha = std::numeric_limits<double>::infinity();  ///< inf: all Q are alike everywhere
    double spread = 0;       ///< median over states of max Q - min Q between a state's candidates
    std::size_t states = 0;  ///< that it rests on
};

/// The alpha at which the candidates of the median state are `width` alphas apart: below 1 the tilt
/// hardly moves the prior, above 10 the best candidate takes all. It goes by the spread of Q
/// between the candidates of a state, which can be a small part of the reward's range.
///
/// With sampled rollouts their noise is part of the spread, and too large an alpha comes out.
/// shapes: states of any number >= 1, every Q known (race = exhaustive); Q of -inf are left out
/// range:  width in (0, inf). Throws invalid_option otherwise, or if there is no state or a Q is
///         NaN.
[[nodiscard]] inline alpha_suggestion suggest_alpha(std::span<const tilted_distribution> states,
                                                    double width = 4) {
    check_option(width > 0 && std::isfinite(width), "suggest_alpha", "width", width, "in (0, inf)");
    check_option(!states.empty(), "suggest_alpha", "states", states.size(), ">= 1");
    std::vector<double> spreads;
    for (const tilted_distribution& state : states) {
        double lo = std::numeric_limits<double>::infinity(), hi = -lo;
        for (const double q : state.q) {
            check_option(!std::isnan(q), "suggest_alpha", "q", q, "known: race = exhaustive");
            if (std::isfinite(q)) lo = (std::min)(lo, q), hi = (std::max)(hi, q);
        }
        spreads.push_back(hi > lo ? hi - lo : 0);
    }
    const auto middle = spreads.begin() + static_cast<std::ptrdiff_t>(spreads.size() / 2);
    std::nth_element(spreads.begin(), middle, spreads.end());
    alpha_suggestion result{.spread = *middle, .states = spreads.size()};
    if (result.spread > 0) result.alpha = result.spread / width;
    return result;
}

/// The same of the states that the first `tokens` tokens of answers to some prompts lead to,
/// decoded by `options` with every Q known. A few prompts and 8 tokens will do; it costs what
/// exhaustive decoding of so many tokens does.
///
///     const double alpha = tq::suggest_alpha(policy, q, prompts).alpha;
template <policy Policy, action_value Value>
[[nodiscard]] alpha_suggestion suggest_alpha(Policy& policy, Value& value,
                                             std::span<const token_list> prompts,
                                             decode_options options = {}, std::size_t tokens = 8,
                                             double width = 4) {
    options.race = race_mode::exhaustive;
    options.token_budget = std::numeric_limits<double>::infinity();
    decoder decode{policy, value, std::move(options)};
    auto answers = decode.generate_all(prompts, tokens);
    std::vector<tilted_distribution> states;
    for (auto steps = answers.advance(); !steps.empty(); steps = answers.advance())
        for (const step& each : steps) states.push_back(each.distribution);
    return suggest_alpha(states, width);
}

}  // namespace tq
