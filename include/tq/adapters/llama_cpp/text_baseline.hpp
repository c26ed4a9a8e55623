#pragma once
// text_baseline: a baseline with another vocabulary than the policy's; rollouts travel as text.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../concepts/baseline.hpp"
#include "../../core/error.hpp"
#include "../../core/trajectory.hpp"
#include "../../kernels/sample.hpp"
#include "../../rollout/engine.hpp"
#include "model_file.hpp"
#include "pieces.hpp"
#include "prompt_pairs.hpp"

namespace tq::llama_cpp {

/// Throws invalid_option unless `other` (a baseline, an anchor, a reward's trunk) has the policy's
/// vocabulary, which all models that share token sequences need.
inline void check_same_vocabulary(const model_file& policy, const model_file& other,
                                  std::string_view role) {
    check_option(same_vocabulary(policy, other), role, "vocabulary", other.path(),
                 "that of the policy, " + policy.path() +
                     " (a baseline with another one can be a text_baseline)");
}

/// Options of text_baseline.
struct text_baseline_options {
    /// Token healing: where a longer token could begin, the end of the answer so far is read again,
    /// and the first tokens are drawn among those that begin with it. Without it a model that is
    /// given " hel" seldom spells on, since it saw " hello" as one token. With it a whole word may
    /// be spelled on too: " Tra" becomes " Travel". false = no-op.
    bool healing = true;
};

/// A language model as a completer for a policy with another vocabulary, for direct transfer.
///
/// For each request the policy's sequence is split into a prompt, which add_prompt() has a
/// counterpart for, and the answer so far. The answer's bytes become tokens of the baseline, which
/// are continued in batches by the rollout engine; the new text becomes tokens of the policy, as
/// many as are wanted.
///
///  * The baseline draws until the policy's tokens suffice, or it ends, or what it draws has no
///    text. `finished` means that it ended before the limit.
///  * A text may end inside a word or a character. Healing goes on where it ends; bytes of a
///    character that is never completed come through as they are, spelled by single bytes.
///  * Random numbers are the requests' own, indexed by the position in the baseline's sequence, so
///    rollouts do not depend on what else is in the batch.
///  * It states no log-probabilities: a text has many spellings.
///  * The models' tokens of one text differ, so memory of rollouts (rollout_options::reuse) goes on
///    where a remembered rollout went, which may differ from a rollout made anew.
///
/// The healed distribution is the model's, renormalised over the tokens that fit, token by token.
/// `Model` is a policy with source(), such as language_model; held by reference if an lvalue, which
/// must outlive the object, else moved in. Not thread-safe.
template <class Model>
class text_baseline {
    static_assert(explain_policy<std::remove_reference_t<Model>>());

public:
    /// policy: whose tokens come in and go out.
    text_baseline(model_file policy, Model&& baseline, text_baseline_options options = {})
        : policy_{std::move(policy)},
          policy_pieces_{policy_},
          pieces_{baseline.source()},
          baseline_(std::forward<Model>(baseline)),
          options_{options} {}

    /// From now on sequences that begin with `policy_prompt` are answers to `baseline_prompt`, in
    /// the baseline's tokens. Of several that match, the longest holds.
    /// Throws invalid_option if baseline_prompt is empty.
    void add_prompt(token_list policy_prompt, token_list baseline_prompt) {
        prompts_.add(std::move(policy_prompt), std::move(baseline_prompt));
    }
    /// Forgets all prompts.
    void clear_prompts() noexcept { prompts_.clear(); }

    /// Models completer. Throws invalid_option for a sequence that no prompt of add_prompt begins;
    /// what the model throws passes through.
    [[nodiscard]] std::vector<trajectory> complete(std::span<const rollout_request> requests,
                                                   sampling_rule rule) {
        std::vector<continuation> all;
        for (const rollout_request& request : requests) all.push_back(begin(request));
        heal(all, rule);
        while (go_on(all, rule)) {
        }
        std::vector<trajectory> result;
        for (const continuation& c : all) result.push_back(trajectory_of(c));
        return result;
    }

    /// The baseline's file, whose vocabulary rollouts are drawn in.
    [[nodiscard]] const model_file& source() const { return baseline_.source(); }

private:
    /// A request while it is worked on.
    struct continuation {
        const rollout_request* request;
        token_list tokens{};    // the baseline's: prompt, answer, what was drawn
        token_list dropped{};   // its tokens at the end of the answer, yet to be drawn again
        std::string known{};    // their bytes
        std::string text{};     // new text
        token_list fresh{};     // the policy's tokens of it
        bool finished = false;  // the baseline has ended
        bool ended = false;     // so, or it will not get further

        [[nodiscard]] std::size_t missing() const {
            return request->max_tokens - (std::min)(request->max_tokens, fresh.size());
        }
    };

    [[nodiscard]] continuation begin(const rollout_request& request) const {
        const detail::prompt_pair& prompt = prompts_.of(request.sequence);
        std::string answer;
        for (const token_id token : request.sequence.subspan(prompt.policy.size()))
            answer += policy_.piece(token);
        const token_list spelled = pieces_.tokenize(answer);
        const bool heals = options_.healing && request.max_tokens > 0;
        const auto kept = static_cast<std::ptrdiff_t>(heals ? healthy(spelled) : spelled.size());
        continuation result{.request = &request, .tokens = prompt.other};
        result.tokens.insert(result.tokens.end(), spelled.begin(), spelled.begin() + kept);
        result.dropped.assign(spelled.begin() + kept, spelled.end());
        result.known = pieces_.text(result.dropped);
        return result;
    }

    /// How many tokens stay: those before the longest end that a longer token begins with.
    [[nodiscard]] std::size_t healthy(const token_list& tokens) const {
        std::size_t kept = tokens.size();
        std::string end;
        for (std::size_t i = tokens.size(); i-- > 0 && end.size() < pieces_.longest();) {
            end.insert(0, pieces_.piece(tokens[i]));
            if (pieces_.goes_on(end)) kept = i;
        }
        return kept;
    }

    /// Draws tokens until every answer's end is there again.
    void heal(std::vector<continuation>& all, sampling_rule rule) {
        row_sampler draw{rule};
        for (;;) {
            std::vector<continuation*> open;
            for (continuation& c : all)
                if (!c.known.empty()) open.push_back(&c);
            if (open.empty()) break;
            open.resize((std::min)(open.size(), max_batch_of(baseline_)));
            std::vector<token_view> views;
            for (const continuation* c : open) views.emplace_back(c->tokens);
            const std::span<const logits_view> rows = logits_of(baseline_, views);
            for (std::size_t i = 0; i < open.size(); ++i) draw_known(*open[i], rows[i], draw);
        }
        for (continuation& c : all) c.fresh = policy_pieces_.tokenize(c.text);
    }

    /// One token that begins with the known bytes, or the first of those that spelled them.
    void draw_known(continuation& c, logits_view row, row_sampler& draw) {
        masked_.assign(row.size(), -std::numeric_limits<float>::infinity());
        const auto allow = [&](token_id token) {
            masked_[static_cast<std::size_t>(token)] = row[static_cast<std::size_t>(token)];
        };
        for (const token_id token : pieces_.beginning_with(c.known)) allow(token);
        allow(c.dropped.front());
        token_id token = draw(masked_, c.request->key.uniform(c.tokens.size()));
        if (token == no_token) token = c.dropped.front();  // the model forbids them all
        c.tokens.push_back(token);
        const std::string_view piece = pieces_.piece(token);
        if (piece.size() >= c.known.size()) {
            c.text += piece.substr(c.known.size());
            c.known.clear();
            c.dropped.clear();
        } else {
            c.known.erase(0, piece.size());
            c.dropped.erase(c.dropped.begin());
        }
    }

    /// As many tokens more as the policy's are missing; false if none are.
    [[nodiscard]] bool go_on(std::vector<continuation>& all, sampling_rule rule) {
        std::vector<continuation*> open;
        std::vector<rollout_request> requests;
        for (continuation& c : all) {
            if (c.ended || c.missing() == 0) continue;
            open.push_back(&c);
            requests.push_back({.sequence = c.tokens,
                                .max_tokens = c.missing(),
                                .end_tokens = source().end_tokens(),
                                .key = c.request->key});
        }
        const std::vector<trajectory> rollouts = run_rollouts(baseline_, requests, rule);
        for (std::size_t i = 0; i < open.size(); ++i) {
            continuation& c = *open[i];
            const std::string text = pieces_.text(rollouts[i].tokens());
            c.tokens = rollouts[i].sequence;
            c.text += text;
            c.fresh = policy_pieces_.tokenize(c.text);
            c.finished = rollouts[i].finished;
            c.ended = c.finished || text.empty() ||
                      c.text.size() > c.request->max_tokens * policy_pieces_.longest();
        }
        return !open.empty();
    }

    [[nodiscard]] static trajectory trajectory_of(const continuation& c) {
        trajectory result = tq::detail::start_of(*c.request);
        result.finished = c.finished && c.missing() > 0;
        for (const token_id token : c.fresh) {
            if (result.tokens().size() == c.request->max_tokens) break;
            result.finished |= is_end_token(token, c.request->end_tokens);
            if (is_end_token(token, c.request->end_tokens)) break;
            result.sequence.push_back(token);
        }
        return result;
    }

    model_file policy_;
    detail::piece_table policy_pieces_, pieces_;
    Model baseline_;
    text_baseline_options options_;
    detail::prompt_pairs prompts_{"text_baseline"};
    std::vector<float> masked_;  // [the baseline's vocabulary]
};

template <class Model>
text_baseline(model_file, Model&&, text_baseline_options = {}) -> text_baseline<Model>;

}  // namespace tq::llama_cpp
