// check_servers MODEL.gguf LORA.gguf HEAD.safetensors COMPLETIONS_URL STATES_URL [OPENAI_URL]
//
// Compares what servers answer with the same models run here. COMPLETIONS_URL is a llama-server with
// MODEL and LORA, STATES_URL one with MODEL and --embedding --pooling last; OPENAI_URL any server of the
// OpenAI API with MODEL. Prints what was compared; exit status 1 if something differs by more than
// engines do.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <tq/adapters/http/http.hpp>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

namespace {

bool failed = false;

void check(bool ok, const char* what, double value) {
    std::printf("%-4s %s: %.4g\n", ok ? "ok" : "BAD", what, value);
    failed |= !ok;
}

/// A linear head, as `reward_head` reads it.
std::vector<float> weights_of(const std::string& path) {
    return tq::llama_cpp::safetensors_file{path}.tensor("score.weight").values;
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 6) return std::puts("see the head of check_servers.cpp"), 2;
    using namespace tq::llama_cpp;
    namespace http = tq::http;
    const model_file file{argv[1]};
    language_model aligned{file, {.lora = argv[2]}};
    const http::text_codec codec{
        .decode = [&](tq::token_view tokens) { return file.detokenize(tokens, true); },
        .encode =
            [&](std::string_view text) { return file.tokenize(text, {.parse_special = true}); }};

    std::vector<tq::token_list> prompts;
    for (const char* question :
         {"Tell me about your day.", "What is the sea?", "How do I bake bread?",
          "Why is the sky blue?", "Describe a city.", "Who was Mozart?"})
        prompts.push_back(file.chat_prompt(question));
    std::vector<tq::rollout_request> requests;
    for (std::size_t i = 0; i < prompts.size(); ++i)
        requests.push_back({.sequence = prompts[i],
                            .max_tokens = 24,
                            .end_tokens = file.end_tokens(),
                            .key = tq::random_key{i}});

    // Greedy rollouts: the same up to the first near-tie.
    http::completion_server remote{{.urls = {argv[4]}}, {.speaks = http::dialect::llama_cpp}};
    const auto agreement = [&](const std::vector<tq::trajectory>& a,
                               const std::vector<tq::trajectory>& b) {
        double same = 0, all = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            const auto [x, y] = std::ranges::mismatch(a[i].tokens(), b[i].tokens());
            same += double(x - a[i].tokens().begin());
            all += double(a[i].tokens().size());
        }
        return same / all;
    };
    const auto here = tq::run_rollouts(aligned, requests, {.temperature = 0});
    const double greedy = agreement(here, remote.complete(requests, {.temperature = 0}));
    check(greedy > 0.6, "greedy rollouts, share of tokens before the first difference", greedy);

    // Sampled rollouts: the server's log-probabilities are the model's.
    for (tq::rollout_request& request : requests) request.log_probability = true;
    const auto sampled = remote.complete(requests, {.temperature = 1});
    std::vector<tq::continuation_view> continuations;
    for (std::size_t i = 0; i < sampled.size(); ++i)
        continuations.push_back({.sequence = sampled[i].sequence,
                                 .start = sampled[i].start,
                                 .finished = sampled[i].finished,
                                 .end_tokens = file.end_tokens()});
    const std::vector<double> exact = tq::log_probabilities(aligned, continuations);
    double worst = 0;
    for (std::size_t i = 0; i < exact.size(); ++i)
        worst = std::max(worst, std::abs(exact[i] - sampled[i].log_probability) /
                                    std::max<double>(1, double(sampled[i].tokens().size())));
    check(worst < 0.1, "log-probabilities of sampled rollouts, worst difference per token", worst);
    const auto again = remote.complete(requests, {.temperature = 1});
    const double repeated = agreement(sampled, again);
    check(repeated > 0.6, "the same seeds again, share of tokens", repeated);

    // The server's own codec.
    const http::text_codec own = http::server_codec(http::dialect::llama_cpp, {.urls = {argv[4]}});
    const std::string text = "The sea, the sky – and all.";
    const tq::token_list tokens = codec.encode(text);
    check(own.encode(text) == tokens && own.decode(tokens) == text,
          "tokens of a text and back, equal", double(tokens.size()));

    // A reward head on the server's states.
    const std::vector<float> head = weights_of(argv[3]);
    reward_head local{file, argv[3]};
    std::vector<tq::answer_view> answers;
    for (std::size_t i = 0; i < here.size(); ++i) answers.push_back({prompts[i], here[i].tokens()});
    std::vector<double> expected(answers.size()), actual(answers.size());
    local.score_raw(answers, expected);
    http::server_reward far{{.urls = {argv[5]}},
                            {.path = http::reward_path::state,
                             .decode = codec.decode,
                             .value = [&](std::span<const double> state) {
                                 double sum = 0;
                                 for (std::size_t j = 0; j < head.size(); ++j)
                                     sum += double{head[j]} * state[j];
                                 return sum;
                             }}};
    far.score(answers, actual);
    const double shift = expected[0] - actual[0];  // the bias
    worst = 0;
    for (std::size_t i = 0; i < answers.size(); ++i)
        worst = std::max(worst, std::abs(expected[i] - actual[i] - shift));
    check(worst < 0.3, "raw rewards from the server's states, worst difference", worst);

    if (argc > 6) {
        http::completion_server openai{{.urls = {argv[6]}}, {.text = codec}};
        language_model plain{file};
        const auto mine = tq::run_rollouts(plain, requests, {.temperature = 0});
        const auto theirs = openai.complete(requests, {.temperature = 0});
        const double same = agreement(mine, theirs);
        check(same > 0.6, "OpenAI API, greedy, share of tokens before the first difference", same);
    }
    return failed ? 1 : 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "check_servers: %s\n", error.what());
    return 1;
}
