#pragma once
// The action value that the user asked for.

#include <tq/tq.hpp>

#include "arguments.hpp"

/// Calls use(value, rollout_stats of it) with direct, indirect or soft transfer from `baseline`.
template <class Policy, class Baseline, class Reward, class Use>
void with_transfer(Policy& policy, Baseline& baseline, Reward& reward, const arguments& args,
                   Use use) {
    if (args.transfer == transfer::direct) {
        tq::direct_transfer q{baseline, reward, args.rollout};
        return use(q, q.stats());
    }
    tq::implicit_weights weights{policy,
                                 {.beta = args.beta, .temperature = args.decode.temperature}};
    if (args.transfer == transfer::indirect) {
        tq::indirect_transfer q{baseline, reward, weights, args.rollout, args.weights};
        return use(q, q.stats());
    }
    tq::soft_transfer q{baseline, reward, weights, args.rollout, {.weights = args.weights}};
    use(q, q.stats());
}

/// The same; a share of the rollouts may come from the policy itself.
template <class Policy, class Baseline, class Reward, class Use>
void with_value(Policy& policy, Baseline& baseline, Reward& reward, const arguments& args,
                Use use) {
    if (args.policy_share == 0) return with_transfer(policy, baseline, reward, args, use);
    if (args.policy_share == 1) return with_transfer(policy, policy, reward, args, use);
    tq::mixture mixed{tq::component{baseline, 1 - args.policy_share},
                      tq::component{policy, args.policy_share}};
    with_transfer(policy, mixed, reward, args, use);
}
