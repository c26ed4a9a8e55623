#pragma once
// The batched rollout engine: everything in flight advances one token per model call.

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/baseline.hpp"
#include "../core/error.hpp"
#include "../kernels/sample.hpp"
#include "options.hpp"

namespace tq {

namespace detail {

/// A trajectory that has not begun.
[[nodiscard]] inline trajectory start_of(const rollout_request& request) {
    return {.sequence = {request.sequence.begin(), request.sequence.end()},
            .start = request.sequence.size()};
}

}  // namespace detail

/// Continues many sequences together.
///
/// At most `slots` rollouts are in flight; each model call advances all of them by one token, and as
/// soon as one ends (end token or limit) the next waiting request takes its place in the next call.
/// Random numbers belong to the requests (depth d of a request draws from its key at d), so results
/// do not depend on the number of slots or on the order of the requests.
///
/// threads: one engine per thread; it uses the model it was given.
template <policy Model>
class rollout_engine {
public:
    /// slots >= 1; 0 = what the model likes (max_batch()).
    rollout_engine(Model& model, sampling_rule rule, std::size_t slots = 0)
        : model_{&model},
          sampler_{rule},
          slots_{slots ? slots : max_batch_of(model)} {
        check(rule, "rollout_engine");
    }

    /// One trajectory for each request, in order.
    /// Throws backend_error if the model forbids every token or returns NaN; whatever the model
    /// throws passes through.
    [[nodiscard]] std::vector<trajectory> run(std::span<const rollout_request> requests) {
        std::vector<trajectory> done(requests.size());
        std::vector<std::size_t> active;  // indices of the requests in flight
        std::size_t next = 0;
        const auto admit = [&] {
            for (; next < requests.size() && active.size() < slots_; ++next) {
                done[next] = detail::start_of(requests[next]);
                if (requests[next].max_tokens > 0) active.push_back(next);
            }
        };
        for (admit(); !active.empty(); admit()) advance(requests, done, active);
        return done;
    }

private:
    /// One model call: a token for every rollout in flight; those that end leave `active`.
    void advance(std::span<const rollout_request> requests, std::vector<trajectory>& done,
                 std::vector<std::size_t>& active) {
        views_.clear();
        for (const std::size_t i : active) views_.emplace_back(done[i].sequence);
        const std::span<const logits_view> rows = logits_of(*model_, views_);
        std::size_t kept = 0;
        for (std::size_t slot = 0; slot < active.size(); ++slot) {
            const std::size_t i = active[slot];
            if (extend(requests[i], rows[slot], done[i])) active[kept++] = i;
        }
        active.resize(kept);
    }

    /// Draws and appends the next token; false if the rollout has ended.
    [[nodiscard]] bool extend(const rollout_request& request, logits_view row,
                              trajectory& rollout) {
        const std::size_t depth = rollout.tokens().size();
        const token_id token = sampler_(row, request.key.uniform(depth));
        if (token == no_token)
            throw backend_error{"rollout: the baseline's logits at depth " + std::to_string(depth) +
                                " hold NaN or forbid every token"};
        rollout.finished = is_end_token(token, request.end_tokens);
        if (!rollout.finished) rollout.sequence.push_back(token);
        return !rollout.finished && depth + 1 < request.max_tokens;
    }

    Model* model_;
    row_sampler sampler_;
    std::size_t slots_;
    std::vector<token_view> views_;  // [in flight] the sequences of one model call
};

namespace detail {

/// complete(), asked only for what is not empty, and checked: throws backend_error if the answer
/// breaks the completer's contract.
template <completer Model>
[[nodiscard]] std::vector<trajectory> complete_checked(Model& model,
                                                       std::span<const rollout_request> requests,
                                                       sampling_rule rule) {
    std::vector<rollout_request> wanted;
    for (const rollout_request& request : requests)
        if (request.max_tokens > 0) wanted.push_back(request);
    std::vector<trajectory> completed;
    if (!wanted.empty()) completed = model.complete(wanted, rule);
    if (completed.size() != wanted.size())
        throw backend_error{"completer: returned " + std::to_string(completed.size()) +
                            " trajectories for " + std::to_string(wanted.size()) + " requests"};
    std::vector<trajectory> result;
    for (std::size_t i = 0, next = 0; i < requests.size(); ++i) {
        if (requests[i].max_tokens == 0) {
            result.push_back(start_of(requests[i]));
            continue;
        }
        trajectory& rollout = completed[next++];
        const std::size_t start = requests[i].sequence.size();
        if (rollout.start != start || rollout.sequence.size() < start ||
            rollout.sequence.size() - start > requests[i].max_tokens)
            throw backend_error{"completer: trajectory " + std::to_string(next - 1) +
                                " does not continue its request by at most " +
                                std::to_string(requests[i].max_tokens) + " tokens"};
        result.push_back(std::move(rollout));
    }
    return result;
}

}  // namespace detail

/// Continues sequences with whatever the baseline is: it completes them itself, or the engine
/// samples its tokens, `slots` at a time (0 = what the model likes).
template <baseline Model>
[[nodiscard]] std::vector<trajectory> run_rollouts(Model& model,
                                                   std::span<const rollout_request> requests,
                                                   sampling_rule rule, std::size_t slots = 0) {
    if constexpr (completer<Model>)
        return detail::complete_checked(model, requests, rule);
    else
        return rollout_engine<Model>{model, rule, slots}.run(requests);
}

}  // namespace tq
