#include "tq/adapters/http/completion_server.hpp"

#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>

#include "mock_server.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"
#include "tq/tabular/tabular.hpp"
#include "tq/tq.hpp"

using namespace std::chrono_literals;
using nlohmann::json;
using tq::backend_error;
using tq::rollout_request;
using tq::token_list;
using tq::http::completion_options;
using tq::http::completion_server;
using tq::http::dialect;
using tq::http::server_options;
using tq::test::contains;
using tq::test::message_of;
using tq::test::mock_server;
using tq::test::received;

namespace {

constexpr tq::token_id end = 4;
const token_list ends{end};

server_options quick(std::vector<std::string> urls) {
    return {.urls = std::move(urls), .response_timeout = 5s, .retries = 2, .backoff = 1ms};
}

tq::tabular::bigram_model world() {
    return tq::tabular::bigram_model{{{0, 1, 2, .5F, -1},
                                      {1, 0, 0, 2, 0},
                                      {0, 2, 1, 0, 1.5F},
                                      {.3F, 0, 1, 1, 3},
                                      {0, 0, 0, 0, 9}},
                                     {end}};
}

/// What the model would write after `sequence`, as a server says it.
struct written {
    token_list tokens;
    bool ended;
};
written greedy(const json& sequence, std::size_t most) {
    auto lm = world();
    const auto tokens = sequence.get<token_list>();
    const rollout_request request{.sequence = tokens, .max_tokens = most, .end_tokens = ends};
    const auto rollout = tq::run_rollouts(lm, std::span{&request, 1}, {.temperature = 0}).front();
    token_list result{rollout.tokens().begin(), rollout.tokens().end()};
    if (rollout.finished) result.push_back(end);  // both servers show it
    return {result, rollout.finished};
}

/// /completion of llama-server.
void llama_server(const received& request, httplib::Response& response) {
    const auto answer = [&](const json& prompt) {
        const written text = greedy(prompt, request.body["n_predict"]);
        return json{
            {"index", 0}, {"tokens", text.tokens}, {"stop_type", text.ended ? "eos" : "limit"}};
    };
    const json& prompt = request.body["prompt"];
    if (!prompt[0].is_array()) return mock_server::say(response, answer(prompt));
    json all = json::array();
    for (const json& one : prompt) all.push_back(answer(one));
    mock_server::say(response, all);
}

/// /v1/completions of vLLM; the choices in another order.
void vllm(const received& request, httplib::Response& response) {
    json prompts = request.body["prompt"];
    if (!prompts[0].is_array()) prompts = json::array({prompts});
    json choices = json::array();
    for (std::size_t i = prompts.size(); i-- > 0;) {
        const written text = greedy(prompts[i], request.body["max_tokens"]);
        choices.push_back({{"index", i},
                           {"text", ""},
                           {"token_ids", text.tokens},
                           {"finish_reason", text.ended ? "stop" : "length"}});
    }
    mock_server::say(response, {{"choices", choices}});
}

double taste(tq::token_view, tq::token_view answer) {
    double sum = 0;
    for (const tq::token_id token : answer) sum += token == 2 ? 1 : token == 1 ? -1 : 0;
    return sum;
}

template <class Generation>
void finish(Generation& answers) {
    while (!answers.advance().empty()) {
    }
}

token_list list(tq::token_view tokens) { return {tokens.begin(), tokens.end()}; }

/// Letters for tokens.
const tq::http::text_codec letters{.decode =
                                       [](tq::token_view tokens) {
                                           std::string text;
                                           for (const tq::token_id token : tokens)
                                               text += static_cast<char>('a' + token);
                                           return text;
                                       },
                                   .encode =
                                       [](std::string_view text) {
                                           token_list tokens;
                                           for (const char c : text) tokens.push_back(c - 'a');
                                           return tokens;
                                       }};

}  // namespace

TEST_CASE("a decode with a baseline on a server is the one with the same baseline here") {
    const bool llama = GENERATE(true, false);
    mock_server server{llama ? llama_server : vllm};
    completion_server remote{quick({server.url()}),
                             {.speaks = llama ? dialect::llama_cpp : dialect::vllm}};
    auto here = world();
    const tq::rollout_options look{.horizon = 5};
    tq::direct_transfer far{remote, taste, look};
    tq::direct_transfer near{here, taste, look};
    tq::decoder with_server{here, far, {.alpha = .5, .top_k = 4}};
    tq::decoder without{here, near, {.alpha = .5, .top_k = 4}};
    const std::vector<token_list> prompts{{0}, {1, 3}, {2}};
    auto there = with_server.generate_all(prompts, 8);
    auto expected = without.generate_all(prompts, 8);
    finish(there);
    finish(expected);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        CHECK(list(there.answer(i)) == list(expected.answer(i)));
        CHECK(there.finished(i) == expected.finished(i));
    }
    CHECK(there.spent() == expected.spent());
    for (const received& request : server.requests()) {
        CHECK(request.path == (llama ? "/completion" : "/v1/completions"));
        CHECK(request.body["temperature"] == 0);
        CHECK(request.body["stream"] == false);
        CHECK_FALSE(request.body.contains("seed"));
        CHECK(request.body[llama ? "return_tokens" : "return_token_ids"] == true);
    }
}

TEST_CASE("greedy rollouts of one length travel together, sampled ones with a seed each") {
    mock_server server{vllm};
    const token_list a{0}, b{1};
    std::vector<rollout_request> requests;
    for (std::size_t i = 0; i < 5; ++i)
        requests.push_back({.sequence = i < 3 ? a : b,
                            .max_tokens = 3,
                            .end_tokens = ends,
                            .key = tq::random_key{i}});
    SECTION("greedy") {
        completion_server remote{quick({server.url()}),
                                 {.speaks = dialect::vllm, .model = "m", .greedy_batch = 4}};
        const auto rollouts = remote.complete(requests, {.temperature = 0});
        CHECK(rollouts[0].sequence == rollouts[2].sequence);
        REQUIRE(server.requests().size() == 2);
        const auto first = server.requests()[0].body["prompt"].size(),
                   second = server.requests()[1].body["prompt"].size();
        CHECK(std::max(first, second) == 4);
        CHECK(server.requests()[0].body["model"] == "m");
    }
    SECTION("sampled") {
        completion_server remote{quick({server.url()}), {.speaks = dialect::vllm}};
        (void)remote.complete(requests, {.temperature = .7, .top_p = .9});
        std::vector<std::uint64_t> seeds;
        for (const received& request : server.requests()) {
            CHECK(request.body["temperature"] == .7);
            CHECK(request.body["top_p"] == .9);
            CHECK(request.body["top_k"] == -1);
            seeds.push_back(request.body["seed"]);
        }
        std::ranges::sort(seeds);
        CHECK(seeds == std::vector<std::uint64_t>{0, 1, 2, 3, 4});
    }
}

TEST_CASE("rollouts of one sequence as one request") {
    mock_server server{[](const received& request, httplib::Response& response) {
        json choices = json::array();
        for (int i = 0; i < request.body.value("n", 1); ++i)
            choices.push_back({{"token_ids", {i}}, {"finish_reason", "length"}});
        mock_server::say(response, {{"choices", choices}});
    }};
    completion_server remote{quick({server.url()}), {.speaks = dialect::vllm, .group = true}};
    const token_list a{0}, b{1};
    std::vector<rollout_request> requests;
    for (const token_list* sequence : {&a, &b, &a})
        requests.push_back({.sequence = *sequence, .max_tokens = 1, .end_tokens = {}});
    const auto rollouts = remote.complete(requests, {.temperature = 1});
    CHECK(server.requests().size() == 2);
    CHECK(rollouts[0].sequence == token_list{0, 0});
    CHECK(rollouts[1].sequence == token_list{1, 0});
    CHECK(rollouts[2].sequence == token_list{0, 1});
}

TEST_CASE("servers that speak text only") {
    mock_server server{[](const received& request, httplib::Response& response) {
        CHECK(request.body["prompt"] == "ab");
        mock_server::say(
            response, {{"choices", {{{"index", 0}, {"text", "cdc"}, {"finish_reason", "stop"}}}}});
    }};
    completion_server remote{quick({server.url()}), {.text = letters, .extra = {{"user", "tq"}}}};
    const token_list prompt{0, 1};
    rollout_request request{.sequence = prompt, .max_tokens = 5, .end_tokens = ends};
    auto rollout = remote.complete({&request, 1}, {.temperature = 1}).front();
    CHECK(rollout.sequence == token_list{0, 1, 2, 3, 2});
    CHECK(rollout.start == 2);
    CHECK(rollout.finished);
    CHECK(std::isnan(rollout.log_probability));
    CHECK(server.requests().front().body["user"] == "tq");

    request.max_tokens = 2;  // more than was wanted is cut, and so not finished
    rollout = remote.complete({&request, 1}, {.temperature = 1}).front();
    CHECK(rollout.sequence == token_list{0, 1, 2, 3});
    CHECK_FALSE(rollout.finished);
}

TEST_CASE("log-probabilities of what was drawn") {
    const json answer{{"choices",
                       {{{"index", 0},
                         {"token_ids", {2, 3, end}},
                         {"logprobs", {{"token_logprobs", {-.5, -.25, -1}}}},
                         {"finish_reason", "stop"}}}}};
    mock_server server{[&](const received& request, httplib::Response& response) {
        if (request.path == "/v1/completions") return mock_server::say(response, answer);
        mock_server::say(response,
                         {{"tokens", {2, 3, end}},
                          {"stop_type", "eos"},
                          {"completion_probabilities",
                           {{{"logprob", -.5}}, {{"logprob", -.25}}, {{"logprob", -1}}}}});
    }};
    const bool llama = GENERATE(true, false);
    completion_server remote{quick({server.url()}),
                             {.speaks = llama ? dialect::llama_cpp : dialect::vllm}};
    const token_list prompt{0};
    const auto probability = [&](std::size_t most, const token_list& end_tokens,
                                 double temperature) {
        const rollout_request request{.sequence = prompt,
                                      .max_tokens = most,
                                      .end_tokens = end_tokens,
                                      .log_probability = true};
        return remote.complete({&request, 1}, {.temperature = temperature}).front().log_probability;
    };
    CHECK(probability(5, ends, 1) == Catch::Approx(-1.75));
    CHECK(probability(5, {3}, 1) == Catch::Approx(-.75));
    CHECK(std::isnan(probability(5, ends, .5)));  // the server tells those of temperature 1
    CHECK(std::isnan(probability(2, {}, 1)));     // it wrote more than was asked for
}

TEST_CASE(
    "a server that stops in mid-decode: one error, the tokens so far, and on when it is back") {
    auto lm = world();
    const tq::decode_options options{.alpha = .5, .top_k = 4};
    tq::direct_transfer near{lm, taste, {.horizon = 5, .reuse = false}};
    tq::decoder without{lm, near, options};
    const std::vector<token_list> prompts{{2}};
    auto uninterrupted = without.generate_all(prompts, 6);
    finish(uninterrupted);
    const token_list expected = list(uninterrupted.answer(0));
    REQUIRE(expected.size() >= 3);

    std::atomic<int> calls{0};
    auto server =
        std::make_unique<mock_server>([&](const received& request, httplib::Response& response) {
            llama_server(request, response);
            ++calls;
        });
    const int port = server->port();
    server_options patience = quick({server->url()});

    SECTION("without enough retries") {
        completion_server remote{patience, {.speaks = dialect::llama_cpp}};
        tq::direct_transfer far{remote, taste, {.horizon = 5, .reuse = false}};
        tq::decoder decode{lm, far, options};
        auto answers = decode.generate_all(prompts, 6);
        answers.advance();
        answers.advance();
        server.reset();
        const std::string message = message_of<backend_error>([&] { answers.advance(); });
        CHECK(
            contains(message, "127.0.0.1:" + std::to_string(port) + "/completion: no connection"));
        CHECK(contains(message, "(3 tries)"));
        CHECK(list(answers.answer(0)) == token_list(expected.begin(), expected.begin() + 2));
        server = std::make_unique<mock_server>(llama_server, port);
        finish(answers);
        CHECK(list(answers.answer(0)) == expected);
    }
    SECTION("with enough of them nobody notices") {
        patience.retries = 50;
        patience.longest_backoff = 50ms;
        completion_server remote{patience, {.speaks = dialect::llama_cpp}};
        tq::direct_transfer far{remote, taste, {.horizon = 5, .reuse = false}};
        tq::decoder decode{lm, far, options};
        auto answers = decode.generate_all(prompts, 6);
        answers.advance();
        server.reset();
        std::jthread comes_back{[&] {
            std::this_thread::sleep_for(200ms);
            server = std::make_unique<mock_server>(llama_server, port);
        }};
        finish(answers);
        comes_back.join();
        CHECK(list(answers.answer(0)) == expected);
        CHECK(remote.servers().tries() > server->requests().size());
    }
}

TEST_CASE("answers that are nonsense") {
    const auto fails = [](const json& answer, const std::string& part) {
        mock_server server{[&](const received&, httplib::Response& response) {
            mock_server::say(response, answer);
        }};
        completion_server remote{quick({server.url()}), {.speaks = dialect::vllm}};
        const token_list prompt{0};
        const rollout_request request{.sequence = prompt, .max_tokens = 2, .end_tokens = {}};
        const std::string message = message_of<backend_error>([&] {
            (void)remote.complete({&request, 1}, {.temperature = 0});
        });
        INFO(message);
        CHECK(contains(message, "completion_server: "));
        CHECK(contains(message, part));
    };
    fails(json::object(), "without a usable \"choices\"");
    fails(json{{"choices", json::array()}}, "0 results for 1 requests");
    fails(json{{"choices", {1}}}, "without a usable \"finish_reason\"");
    fails(json{{"choices", {{{"finish_reason", "stop"}}}}}, "without a usable \"token_ids\"");
    fails(json{{"choices", {{{"finish_reason", "stop"}, {"token_ids", {"a"}}}}}}, "\"token_ids\"");
    fails(json{{"choices", {{{"index", 7}}}}}, "two results for one request");
    fails(json(5), "\"choices\"");
}

TEST_CASE("completion options out of range") {
    const auto refused = [](completion_options options, const std::string& part) {
        CHECK(contains(message_of<tq::invalid_option>([&] {
                           completion_server{{.urls = {"http://x"}}, options};
                       }),
                       part));
    };
    refused({}, "text = none, must be a codec");
    refused({.text = {.encode = letters.encode}}, "text = half a codec");
    refused({.speaks = dialect::vllm, .extra = json::array()},
            "extra = array, must be a JSON object");
}

TEST_CASE("the server's own codec") {
    mock_server server{[](const received& request, httplib::Response& response) {
        if (request.path == "/tokenize")
            return mock_server::say(
                response, {{"tokens", letters.encode(request.body["content"].get<std::string>())}});
        mock_server::say(response,
                         {{"content", letters.decode(request.body["tokens"].get<token_list>())}});
    }};
    const auto codec = tq::http::server_codec(dialect::llama_cpp, quick({server.url()}));
    CHECK(codec.decode(token_list{0, 2}) == "ac");
    CHECK(codec.encode("ca") == token_list{2, 0});
    CHECK(contains(
        message_of<tq::invalid_option>([] { (void)tq::http::server_codec(dialect::openai, {}); }),
        "dialect = openai"));
}
