#pragma once
// Part B of the benchmark: ways to decode.

#include <cstddef>
#include <string>
#include <vector>

#include <tq/core/error.hpp>
#include <tq/decode/block_decoder.hpp>
#include <tq/decode/options.hpp>
#include <tq/rollout/options.hpp>

#include "../../examples/programs/support/defaults.hpp"

namespace noise {

/// One way to decode.
struct variant {
    enum class kind { tq, rival };

    std::string name;
    variant::kind is = kind::tq;  // a rival does not compete for the best TQ* variant
    bool random = false;          // decoded with several seeds
    bool on_policy = false;       // the policy is tilted, not the baseline
    bool frozen = false;          // no action value: the anchor itself
    tq::decode_options decode = demo_defaults::decoding();
    tq::rollout_options rollout = {};
    tq::block_options block = {};
    bool in_blocks = false;
    bool usual = true;  // run unless --variants says otherwise
};

inline std::vector<variant> all_variants() {
    std::vector<variant> result;
    const auto add = [&](const std::string& name, auto change) {
        variant v{.name = name};
        change(v);
        result.push_back(v);
    };
    const auto sampled = [](variant& v, std::size_t rollouts) {
        v.random = true;
        v.rollout.rollouts = rollouts;
        v.rollout.sampling = {.temperature = 1};
    };
    add("default", [](variant&) {});
    for (const std::size_t n : {1U, 2U, 4U})
        add("sampled_" + std::to_string(n), [&](variant& v) { sampled(v, n); });
    add("draw", [](variant& v) {
        v.random = true;
        v.decode.select = tq::selection::sample;
    });
    add("anchor_policy", [](variant& v) { v.on_policy = true; });
    add("horizon_8", [](variant& v) { v.rollout.horizon = 8; });
    add("alpha_0.05", [](variant& v) { v.decode.alpha = 0.05; });
    add("alpha_0.2", [](variant& v) { v.decode.alpha = 0.2; });
    const auto blocks = [](variant& v, std::size_t block, std::size_t candidates) {
        v.in_blocks = v.random = true;
        v.block = {.alpha = 0.1,
                   .block = block,
                   .candidates = candidates,
                   .select = tq::selection::argmax};
    };
    for (const std::size_t block : {4U, 8U})
        for (const std::size_t candidates : {4U, 8U})
            add("blocks_" + std::to_string(block) + "x" + std::to_string(candidates),
                [&](variant& v) { blocks(v, block, candidates); });
    for (const std::size_t budget : {3U, 6U, 12U})
        add("budget_" + std::to_string(budget),
            [&](variant& v) { v.decode.token_budget = static_cast<double>(budget); });
    const auto rival = [&](const std::string& name, auto change) {
        add(name, [&](variant& v) {
            v.is = variant::kind::rival;
            change(v);
        });
    };
    rival("best_of_8", [&](variant& v) { blocks(v, tq::whole_answer, 8); });
    rival("args", [](variant& v) { v.rollout.horizon = 0; });
    rival("baseline", [](variant& v) {
        v.random = v.frozen = true;
        v.decode.select = tq::selection::sample;
        v.decode.top_k = tq::whole_vocabulary;
    });
    return result;
}

}  // namespace noise
