#pragma once
// The batched rollout engine: everything in flight advances one token per model call.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/baseline.hpp"
#include "../core/error.hpp"
#include "../core/stopwatch.hpp"
#include "../kernels/sample.hpp"
#include "log_probability.hpp"
#include "options.hpp"

namespace tq {

namespace detail {

/// A trajectory that has not begun.
[[nodiscard]] inline trajectory start_of(const rollout_request& request) {
    trajectory result{.sequence = {request.sequence.begin(), request.sequence.end()},
                      .start = request.sequence.size()};
    if (request.log_probability) result.log_probability = 0;
    return result;
}

}  // namespace detail

/// How busy an engine was, and what it took beside the model.
struct rollout_stats {
    std::size_t calls = 0;      ///< of the model
    std::size_t rows = 0;       ///< rollouts advanced by a token
    std::size_t in_flight = 0;  ///< places that there were for them, in all calls
    double draw_seconds = 0;    ///< drawing tokens from rows

    /// Rows per slot: 1 = every model call was as wide as could be.
    [[nodiscard]] double occupancy() const noexcept {
        return in_flight == 0 ? 0 : static_cast<double>(rows) / static_cast<double>(in_flight);
    }
    /// Adds field by field.
    rollout_stats& operator+=(const rollout_stats& other) noexcept {
        calls += other.calls;
        rows += other.rows;
        in_flight += other.in_flight;
        draw_seconds += other.draw_seconds;
        return *this;
    }
};

/// Watches rollouts while they run: is told of those that have ended, and may give up others.
template <class Observer>
concept rollout_observer = requires(Observer& observer, std::span<const std::size_t> which,
                                    std::span<const trajectory> all, std::size_t i) {
    observer.ended(which, all);  // indices of the requests; all[i] belongs to request i
    { observer.wanted(i) } -> std::convertible_to<bool>;
};

/// Lets every rollout run.
struct no_observer {
    /// Nothing.
    void ended(std::span<const std::size_t>, std::span<const trajectory>) const noexcept {}
    /// Always.
    [[nodiscard]] bool wanted(std::size_t) const noexcept { return true; }
};

/// Continues many sequences together.
///
/// At most `in_flight` rollouts are in flight; each model call advances all of them by one token,
/// and as soon as one ends (end token, limit, or nobody wants it any more) the next waiting request
/// takes its place in the next call. Random numbers belong to the requests (the token at position p
/// is drawn from the request's key at p), so results do not depend on the number of in_flight or on
/// the order of the requests.
///
/// threads: one engine per thread; it uses the model it was given.
template <policy Model>
class rollout_engine {
public:
    /// in_flight >= 1; 0 = what the model likes (max_batch()).
    rollout_engine(Model& model, sampling_rule rule, std::size_t in_flight = 0)
        : model_{&model},
          rule_{rule},
          draw_{rule},
          slots_{in_flight ? in_flight : max_batch_of(model)} {
        validate(rule, "rollout_engine");
    }

    /// One trajectory for each request, in order; those given up are as far as they came.
    /// Throws backend_error if the model forbids every token or returns NaN; whatever the model
    /// throws passes through.
    template <rollout_observer Observer = no_observer>
    [[nodiscard]] std::vector<trajectory> run(std::span<const rollout_request> requests,
                                              Observer&& observer = {}) {
        std::vector<trajectory> done;
        for (const rollout_request& request : requests) {
            if (request.log_probability) validate_weighable(rule_, "rollout_engine");
            done.push_back(detail::start_of(request));
        }
        active_.clear();
        std::size_t next = 0;
        for (;;) {
            ended_.clear();
            for (; next < requests.size() && active_.size() < slots_; ++next) {
                if (!observer.wanted(next)) continue;
                (requests[next].max_tokens > 0 ? active_ : ended_).push_back(next);
            }
            if (!active_.empty()) advance(requests, done);
            if (!ended_.empty()) {
                observer.ended(ended_, done);
                std::erase_if(active_, [&](std::size_t i) { return !observer.wanted(i); });
            }
            if (active_.empty() && next == requests.size()) return done;
        }
    }

    /// How busy it was so far.
    [[nodiscard]] const rollout_stats& stats() const noexcept { return stats_; }

private:
    /// One model call: a token for every rollout in flight; those that end move to `ended_`.
    void advance(std::span<const rollout_request> requests, std::vector<trajectory>& done) {
        views_.clear();
        for (const std::size_t i : active_) views_.emplace_back(done[i].sequence);
        const std::span<const logits_view> rows = logits_of(*model_, views_);
        stats_ += {.calls = 1, .rows = rows.size(), .in_flight = slots_};
        const detail::stopwatch watch{stats_.draw_seconds};
        std::size_t kept = 0;
        for (std::size_t slot = 0; slot < active_.size(); ++slot) {
            const std::size_t i = active_[slot];
            if (extend(requests[i], rows[slot], done[i]))
                active_[kept++] = i;
            else
                ended_.push_back(i);
        }
        active_.resize(kept);
    }

    /// Draws and appends the next token; false if the rollout has ended.
    [[nodiscard]] bool extend(const rollout_request& request, logits_view row,
                              trajectory& rollout) {
        const token_id token = draw_(row, request.key.uniform(rollout.sequence.size()));
        if (token == no_token)
            throw backend_error{"rollout: the baseline's logits at depth " +
                                std::to_string(rollout.tokens().size()) +
                                " hold NaN or forbid every token"};
        ++rollout.rows;
        rollout.finished = is_end_token(token, request.end_tokens);
        if (request.log_probability)
            rollout.log_probability += log_probability_of(
                row, rollout.finished ? request.end_tokens : token_view{&token, 1},
                rule_.temperature);
        if (!rollout.finished) rollout.sequence.push_back(token);
        return !rollout.finished && rollout.tokens().size() < request.max_tokens;
    }

    Model* model_;
    sampling_rule rule_;
    row_sampler draw_;
    std::size_t slots_;
    rollout_stats stats_;
    std::vector<std::size_t> active_;  // indices of the requests in flight
    std::vector<std::size_t> ended_;   // of those that ended in the last call
    std::vector<token_view> views_;    // [in flight] the sequences of one model call
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
        rollout.rows =
            (std::max)(rollout.rows, rollout.sequence.size() - start + (rollout.finished ? 1 : 0));
        rollout.known = 0;
        result.push_back(std::move(rollout));
    }
    return result;
}

}  // namespace detail

/// Continues sequences with whatever the baseline is: it completes them itself, or the engine
/// samples its tokens, `in_flight` at a time (0 = what the model likes). A completer's rollouts all
/// end at once. `stats`, if given, is added to.
template <baseline Model, rollout_observer Observer = no_observer>
[[nodiscard]] std::vector<trajectory> run_rollouts(Model& model,
                                                   std::span<const rollout_request> requests,
                                                   sampling_rule rule, std::size_t in_flight = 0,
                                                   Observer&& observer = {},
                                                   rollout_stats* stats = nullptr) {
    if constexpr (completer<Model>) {
        std::vector<trajectory> done = detail::complete_checked(model, requests, rule);
        std::vector<std::size_t> all(done.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        if (!all.empty()) observer.ended(all, done);
        return done;
    } else {
        rollout_engine<Model> engine{model, rule, in_flight};
        std::vector<trajectory> done = engine.run(requests, observer);
        if (stats != nullptr) *stats += engine.stats();
        return done;
    }
}

}  // namespace tq
