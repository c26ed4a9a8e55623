#include "support/catch.hpp"
#include "support/message.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include "shared_model.hpp"

using tq::llama_cpp::language_model;
using tq::llama_cpp::make_sampler;
using tq::llama_cpp::model_file;
using tq::llama_cpp::prime;
using tq::llama_cpp::rethrow;
using tq::llama_cpp::reward_head;
using tq::llama_cpp::sampler_options;
using namespace tq::test;

namespace {

struct freer {
    void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};
using owned_sampler = std::unique_ptr<llama_sampler, freer>;

owned_sampler chain_of(const std::vector<llama_sampler*>& parts) {
    owned_sampler chain{llama_sampler_chain_init(llama_sampler_chain_default_params())};
    for (llama_sampler* part : parts) llama_sampler_chain_add(chain.get(), part);
    return chain;
}

/// Q of a token, in (0, 1); remembers the states that it was asked in.
class listening_value {
public:
    static double q(tq::token_id token) {
        return tq::random_key{3}.uniform(static_cast<std::uint64_t>(token));
    }
    void evaluate(std::span<const tq::value_query> queries) {
        for (const tq::value_query& query : queries) {
            sequence.assign(query.state.sequence.begin(), query.state.sequence.end());
            prompt_size = query.state.prompt_size;
            tokens_left = query.state.tokens_left;
            ++calls;
            if (calls == failing) throw tq::backend_error{"planned failure", 7};
            for (std::size_t i = 0; i < query.candidates.size(); ++i)
                query.values[i] = {.q = q(query.candidates[i]), .standard_error = 0};
        }
    }
    tq::token_list sequence;
    std::size_t prompt_size = 0, tokens_left = 0, calls = 0, failing = 0;
};

/// Candidates as a sampler sees them.
struct candidates {
    explicit candidates(const std::vector<std::pair<tq::token_id, float>>& entries) {
        for (const auto& [token, logit] : entries) data.push_back({token, logit, 0});
        array = {data.data(), data.size(), -1, false};
    }
    /// All of a row.
    explicit candidates(tq::logits_view row) {
        for (std::size_t z = 0; z < row.size(); ++z)
            data.push_back({static_cast<tq::token_id>(z), row[z], 0});
        array = {data.data(), data.size(), -1, false};
    }
    candidates(const candidates&) = delete;
    candidates& operator=(const candidates&) = delete;

    [[nodiscard]] tq::token_id selected() const {
        REQUIRE(array.selected >= 0);
        return array.data[array.selected].id;
    }
    std::vector<llama_token_data> data;
    llama_token_data_array array{};
};

/// An answer of the model, each token selected by the chain, as llama_sampler_sample would.
tq::token_list answer_by(llama_sampler* chain, language_model& policy, const tq::token_list& prompt,
                         std::size_t tokens) {
    tq::token_list sequence = prompt;
    for (std::size_t i = 0; i < tokens; ++i) {
        const tq::token_view view{sequence};
        candidates all{policy.next_logits({&view, 1})[0]};
        llama_sampler_apply(chain, &all.array);
        const tq::token_id token = all.selected();
        llama_sampler_accept(chain, token);
        if (tq::is_end_token(token, policy.end_tokens())) break;
        sequence.push_back(token);
    }
    return {sequence.begin() + static_cast<std::ptrdiff_t>(prompt.size()), sequence.end()};
}

const std::vector<std::pair<tq::token_id, float>> some{{10, 2.0F}, {20, 1.5F}, {30, 0.5F}};

}  // namespace

TEST_CASE("sampler: it adds Q / alpha to the logits, and says that they are not sorted") {
    listening_value value;
    owned_sampler sampler{make_sampler(shared_model(), value, {.decode = {.alpha = 0.25}})};
    CHECK(std::string{llama_sampler_name(sampler.get())} == "tq");
    prime(sampler.get(), tq::token_list{1, 2});
    candidates c{some};
    c.data[1].logit = -std::numeric_limits<float>::infinity();
    c.array.sorted = true;
    llama_sampler_apply(sampler.get(), &c.array);
    rethrow(sampler.get());
    CHECK_FALSE(c.array.sorted);
    CHECK(c.array.size == 3);
    const double expected = 2.0 - 0.5 + (listening_value::q(10) - listening_value::q(30)) / 0.25;
    CHECK(std::abs(c.data[0].logit - c.data[2].logit - expected) < 1e-5);
    CHECK(std::isinf(c.data[1].logit));  // forbidden stays forbidden
}

TEST_CASE("sampler: prompt, accepted tokens, reset and clones") {
    listening_value value;
    owned_sampler sampler{make_sampler(shared_model(), value, {.max_tokens = 3})};
    prime(sampler.get(), tq::token_list{1, 2});
    const auto asked = [&](llama_sampler* which) {
        candidates c{some};
        llama_sampler_apply(which, &c.array);
        rethrow(which);
        return value.sequence;
    };
    CHECK(asked(sampler.get()) == tq::token_list{1, 2});
    CHECK((value.prompt_size == 2 && value.tokens_left == 3));
    llama_sampler_accept(sampler.get(), 7);
    owned_sampler clone{llama_sampler_clone(sampler.get())};
    llama_sampler_accept(sampler.get(), 8);
    CHECK(asked(sampler.get()) == tq::token_list{1, 2, 7, 8});
    CHECK((value.prompt_size == 2 && value.tokens_left == 1));
    llama_sampler_accept(sampler.get(), 9);  // past the limit: a token may still come
    CHECK(asked(sampler.get()) == tq::token_list{1, 2, 7, 8, 9});
    CHECK(value.tokens_left == 1);
    CHECK(asked(clone.get()) == tq::token_list{1, 2, 7});
    llama_sampler_reset(sampler.get());
    CHECK(asked(sampler.get()) == tq::token_list{1, 2});
    llama_sampler_copy(clone.get(), sampler.get());
    CHECK(asked(sampler.get()) == tq::token_list{1, 2, 7});
    prime(sampler.get(), tq::token_list{5});
    CHECK(asked(sampler.get()) == tq::token_list{5});
    sampler.reset();  // a clone lives on
    CHECK(asked(clone.get()) == tq::token_list{1, 2, 7});
}

TEST_CASE("sampler: errors wait for rethrow, candidates stay, and the next step tries again") {
    listening_value value;
    owned_sampler sampler{make_sampler(shared_model(), value, {.max_candidates = 3})};
    candidates c{some};
    llama_sampler_apply(sampler.get(), &c.array);  // nobody has told it the prompt
    CHECK(contains(message_of<tq::invalid_option>([&] { rethrow(sampler.get()); }),
                   "sampler: prompt = none, must be told by prime()"));
    prime(sampler.get(), tq::token_list{1});
    value.failing = 1;
    llama_sampler_apply(sampler.get(), &c.array);
    for (std::size_t i = 0; i < some.size(); ++i) CHECK(c.data[i].logit == some[i].second);
    CHECK(message_of<tq::backend_error>([&] { rethrow(sampler.get()); }) == "planned failure");
    rethrow(sampler.get());  // said once
    llama_sampler_apply(sampler.get(), &c.array);
    rethrow(sampler.get());
    CHECK(c.data[0].logit != some[0].second);

    candidates many{{{1, 0}, {2, 0}, {3, 0}, {4, 0}}};
    llama_sampler_apply(sampler.get(), &many.array);
    CHECK(contains(message_of<tq::invalid_option>([&] { rethrow(sampler.get()); }),
                   "candidates = 4, must be <= max_candidates = 3; put llama_sampler_init_top_k"));
    candidates alien{{{1, 0}, {99'999'999, 0}}};
    llama_sampler_apply(sampler.get(), &alien.array);
    CHECK(contains(message_of<tq::invalid_option>([&] { rethrow(sampler.get()); }),
                   "candidate = 99999999"));
    llama_sampler_apply(sampler.get(), &c.array);
    rethrow(sampler.get());

    CHECK_THROWS_AS(prime(sampler.get(), tq::token_list{}), tq::invalid_option);
    CHECK_THROWS_AS(prime(sampler.get(), tq::token_list{-1}), tq::invalid_option);
    owned_sampler other{llama_sampler_init_greedy()};
    CHECK(contains(message_of<tq::invalid_option>([&] { prime(other.get(), tq::token_list{1}); }),
                   "prime: sampler = one without tq"));
    CHECK_THROWS_AS(make_sampler(shared_model(), value, {.max_tokens = 0}), tq::invalid_option);
    CHECK_THROWS_AS(make_sampler(shared_model(), value, {.decode = {.token_budget = 10}}),
                    tq::invalid_option);
    CHECK_THROWS_AS(make_sampler(shared_model(), value, {.decode = {.alpha = -1}}),
                    tq::invalid_option);
    CHECK_THROWS_AS(model_file::borrowed(nullptr), tq::invalid_option);
}

TEST_CASE("sampler: after any chain and before any selection; alpha 1e9 changes no token") {
    language_model policy{shared_model(), small()};
    const tq::token_list prompt = shared_model().chat_prompt("Write a line about the sea.");
    listening_value value;
    const auto n_vocab = static_cast<std::int32_t>(shared_model().vocab_size());
    for (const bool draws : {false, true}) {
        tq::token_list plain;
        for (const double alpha : {0.0, 1e9, 0.05}) {
            std::vector<llama_sampler*> parts{
                llama_sampler_init_penalties(n_vocab, 64, 1.1F, 0.0F, 0.0F),
                llama_sampler_init_top_k(20), llama_sampler_init_top_p(0.95F, 1),
                llama_sampler_init_min_p(0.02F, 1), llama_sampler_init_temp(0.8F)};
            if (alpha > 0)
                parts.push_back(make_sampler(shared_model(), value, {.decode = {.alpha = alpha}}));
            parts.push_back(draws ? llama_sampler_init_dist(5) : llama_sampler_init_greedy());
            const owned_sampler chain = chain_of(parts);
            if (alpha > 0) prime(chain.get(), prompt);
            const tq::token_list answer = answer_by(chain.get(), policy, prompt, 12);
            if (alpha == 0) {
                plain = answer;
                continue;
            }
            rethrow(chain.get());
            if (alpha > 1)
                CHECK(answer == plain);
            else
                CHECK(answer != plain);
            CHECK(value.sequence.size() + 1 >= prompt.size() + answer.size());
        }
    }
}

TEST_CASE("sampler: it can cut the candidates itself, as top_k before it would") {
    language_model policy{shared_model(), small()};
    const tq::token_list prompt = shared_model().chat_prompt("Write a line about the sea.");
    const auto decoded = [&](bool cuts) {
        listening_value value;
        const sampler_options options{.decode = {.alpha = 0.1}, .max_candidates = 5, .cuts = cuts};
        std::vector<llama_sampler*> parts{make_sampler(shared_model(), value, options),
                                          llama_sampler_init_greedy()};
        if (!cuts) parts.insert(parts.begin(), llama_sampler_init_top_k(5));
        const owned_sampler chain = chain_of(parts);
        prime(chain.get(), prompt);
        const tq::token_list answer = answer_by(chain.get(), policy, prompt, 8);
        rethrow(chain.get());
        return answer;
    };
    CHECK(decoded(true) == decoded(false));
}

TEST_CASE("sampler: selecting by itself it is the decoder, with its race, on a borrowed model") {
    const model_file borrowed = model_file::borrowed(shared_model().handle());
    CHECK(borrowed.vocab_size() == shared_model().vocab_size());
    language_model policy{shared_model(), small()},
        baseline{borrowed, small({.lora = asset("baseline_valence_dpo.gguf")})};
    reward_head reward{borrowed, asset("valence_head.safetensors"), small()};
    const tq::token_list prompt = shared_model().chat_prompt("How was the school play?");
    constexpr std::size_t tokens = 8;
    for (const tq::selection select : {tq::selection::argmax, tq::selection::sample}) {
        const tq::decode_options options{
            .alpha = 0.1, .top_k = 6, .select = select, .race = tq::race_mode::exact, .seed = 4};
        // From empty caches both ask for the same in the same batches, so there is no float noise that
        // could part them: another candidate, reward or draw would.
        const tq::rollout_options look{.horizon = 4};
        const auto forget = [&] {
            policy.clear_cache();
            baseline.clear_cache();
            reward.clear_cache();
        };
        forget();
        tq::direct_transfer q{baseline, reward, look};
        const owned_sampler chain =
            chain_of({llama_sampler_init_top_k(6),
                      make_sampler(borrowed, q,
                                   {.decode = options, .max_tokens = tokens, .selects = true})});
        prime(chain.get(), prompt);
        const tq::token_list answer = answer_by(chain.get(), policy, prompt, tokens);
        rethrow(chain.get());
        forget();
        tq::direct_transfer again{baseline, reward, look};
        tq::decoder decode{policy, tq::any_action_value{again}, options};
        auto stream = decode.generate(prompt, tokens);
        for (auto it = stream.begin(); it != stream.end(); ++it) continue;
        CHECK(answer == tq::token_list(stream.answer().begin(), stream.answer().end()));
    }
}

TEST_CASE(
    "sampler: with a real reward it writes what the decoder writes, and raises the mean reward") {
    language_model policy{shared_model(), small()},
        baseline{shared_model(), small({.lora = asset("baseline_valence_dpo.gguf")})};
    reward_head reward{shared_model(), asset("valence_head.safetensors"), small()};
    const tq::decode_options options{.alpha = 0.05, .top_k = 6, .select = tq::selection::argmax};
    constexpr std::size_t tokens = 8;
    double plain = 0, chained = 0;
    const auto earned = [&](const tq::token_list& prompt, const tq::token_list& answer) {
        const tq::answer_view view{prompt, answer};
        double value = 0;
        reward.score({&view, 1}, {&value, 1});
        return value;
    };
    const std::vector<std::string> questions{
        "Tell me about your day.", "How was the school play?", "What is the weather like?",
        "Describe the food at the new restaurant.", "What do you think of Mondays?"};
    for (const std::string& question : questions) {
        const tq::token_list prompt = shared_model().chat_prompt(question);
        const owned_sampler greedy = chain_of({llama_sampler_init_greedy()});
        plain += earned(prompt, answer_by(greedy.get(), policy, prompt, tokens));
        // From empty caches, in the same batches: no float noise parts the chain and the decoder.
        const auto forget = [&] {
            policy.clear_cache();
            baseline.clear_cache();
            reward.clear_cache();
        };
        forget();
        tq::direct_transfer q{baseline, reward, {.horizon = 8}};
        const owned_sampler chain =
            chain_of({llama_sampler_init_top_k(6),
                      make_sampler(shared_model(), q, {.decode = options, .max_tokens = tokens}),
                      llama_sampler_init_greedy()});
        prime(chain.get(), prompt);
        const tq::token_list answer = answer_by(chain.get(), policy, prompt, tokens);
        rethrow(chain.get());
        forget();
        tq::direct_transfer again{baseline, reward, {.horizon = 8}};
        tq::decoder decode{policy, again, options};
        auto stream = decode.generate(prompt, tokens);
        for (auto it = stream.begin(); it != stream.end(); ++it) continue;
        CHECK(answer == tq::token_list(stream.answer().begin(), stream.answer().end()));
        chained += earned(prompt, answer);
    }
    const auto n = static_cast<double>(questions.size());
    INFO("mean rewards: plain " << plain / n << ", chain " << chained / n);
    CHECK(chained > plain);  // it is not if Q is left out, or comes with the wrong sign
}
