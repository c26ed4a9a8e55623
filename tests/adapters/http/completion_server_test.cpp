#include "tq/adapters/http/completion_server.hpp"

#include <chrono>
#include <cmath>
#include <memory>

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
    // Debian's cpp-httplib lets no more than five wait for it.
    return {.urls = std::move(urls),
            .connections = 4,
            .response_timeout = 5s,
            .retries = 2,
            .backoff = 1ms};
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
    auto here = world(), another = world();  // a baseline of its own, as the server's is
    const tq::rollout_options look{.horizon = 5};
    tq::direct_transfer far{remote, taste, look};
    tq::direct_transfer near{another, taste, look};
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
        completion_server remote{quick({server.url()}), {.speaks = dialect::vllm, .group = false}};
        (void)remote.complete(requests, {.temperature = .7, .top_p = .9});
        std::vector<std::uint64_t> seeds;
        for (const received& request : server.requests()) {
            CHECK(request.body["temperature"] == .7);
            CHECK(request.body["top_p"] == .9);
            // What is left out, vLLM takes from the model's generation_config.json.
            CHECK(request.body["top_k"] == -1);
            CHECK(request.body["min_p"] == 0);
            CHECK(request.body["repetition_penalty"] == 1);
            CHECK(request.body["presence_penalty"] == 0);
            CHECK(request.body["frequency_penalty"] == 0);
            CHECK(request.body["stop_token_ids"] == ends);
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
    completion_server remote{quick({server.url()}), {.speaks = dialect::vllm}};
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
    mock_server server{[](const received&, httplib::Response& response) {
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
    const json asked = server.requests().front().body;
    CHECK(asked["prompt"] == "ab");
    CHECK(asked["user"] == "tq");
    CHECK(asked["presence_penalty"] == 0);
    for (const char* unknown :
         {"repetition_penalty", "top_k", "min_p", "stop_token_ids", "add_special_tokens"})
        CHECK_FALSE(asked.contains(unknown));  // the OpenAI API refuses what it does not know

    request.max_tokens = 2;  // more than was wanted is cut, and so not finished
    rollout = remote.complete({&request, 1}, {.temperature = 1}).front();
    CHECK(rollout.sequence == token_list{0, 1, 2, 3});
    CHECK_FALSE(rollout.finished);

    completion_server vllm_text{
        quick({server.url()}),
        {.speaks = dialect::vllm, .text = letters, .extra = {{"min_p", nullptr}}}};
    (void)vllm_text.complete({&request, 1}, {.temperature = 1});
    const json text = server.requests().back().body;
    CHECK(text["add_special_tokens"] == false);  // those of the prompt are in its text
    CHECK_FALSE(text.contains("min_p"));         // null takes a field out
    CHECK_FALSE(text.contains("stop_token_ids"));
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

    auto server = std::make_unique<mock_server>(llama_server);
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
        server = std::make_unique<mock_server>(llama_server, port, 200ms);
        finish(answers);
        CHECK(list(answers.answer(0)) == expected);
        CHECK(remote.servers().tries() > server->requests().size());
    }
}

namespace {

/// What comes of a request for two tokens whose answer is `answer`: the rollout, or the error's words after
/// server and path.
struct asked {
    tq::trajectory rollout;
    std::string problem;
};
asked ask(const json& answer, dialect speaks = dialect::vllm, const token_list& end_tokens = ends) {
    mock_server server{
        [&](const received&, httplib::Response& response) { mock_server::say(response, answer); }};
    completion_server remote{quick({server.url()}), {.speaks = speaks}};
    const token_list prompt{0};
    const rollout_request request{
        .sequence = prompt, .max_tokens = 2, .end_tokens = end_tokens, .log_probability = true};
    asked result;
    result.problem = message_of<backend_error>([&] {
        result.rollout = remote.complete({&request, 1}, {.temperature = 1}).front();
    });
    const std::string where =
        server.url() + (speaks == dialect::vllm ? "/v1/completions: " : "/completion: ");
    if (result.problem == "nothing was thrown") return {result.rollout, ""};
    INFO(result.problem);
    CHECK(result.problem.starts_with(where));
    result.problem.erase(0, where.size());
    return result;
}

json choice(const json& fields) {
    json one{{"token_ids", {1, 2}}, {"finish_reason", "length"}};
    one.update(fields);
    return {{"choices", {one}}};
}
json llama(const json& fields) {
    json one{{"tokens", {1, 2}}, {"stop_type", "limit"}};
    one.update(fields);
    return one;
}

}  // namespace

TEST_CASE("answers that are nonsense") {
    const auto fails = [](const json& answer, const std::string& part) {
        const std::string problem = ask(answer).problem;
        INFO(problem);
        CHECK(contains(problem, part));
        CHECK(problem.ends_with("(1 try)"));
    };
    fails(json::object(), "without a usable \"choices\": {}");
    fails(json{{"choices", json::array()}}, "0 results for 1 requests");
    fails(json{{"choices", nullptr}}, "without a usable \"choices\": {\"choices\":null}");
    fails(json{{"detail", "model is still loading"}}, "{\"detail\":\"model is still loading\"}");
    fails(json{{"choices", {1}}}, "without a usable \"token_ids\": 1");
    fails(choice({{"token_ids", nullptr}}), "without a usable \"token_ids\"");
    fails(choice({{"token_ids", json::array()}, {"text", "abc"}}), "text without \"token_ids\"");
    fails(choice({{"index", 7}}), "\"index\" is 7, must be an integer in [0, 1)");
    fails(choice({{"index", "0"}}), "\"index\" is \"0\"");
    fails(json(5), "\"choices\": 5");
    fails(choice({{"finish_reason", "content_filter"}}), "\"finish_reason\": \"content_filter\"");
    fails(choice({{"finish_reason", "repetition"}}), "\"finish_reason\": \"repetition\"");
    fails(choice({{"finish_reason", 5}}), "\"finish_reason\": 5");
    fails(choice({{"logprobs", {{"token_logprobs", {500, -1}}}}}),
          "a log-probability of 500, must be <= 0");
    // What a context that is full leaves of it.
    fails(choice({{"token_ids", {1}}}), "cut after 1 of 2 tokens: the server's context is full");
    CHECK(contains(ask(choice({{"finish_reason", "abort"}})).problem, "\"abort\" (3 tries)"));
    const auto llama_fails = [](const json& answer, const std::string& part) {
        CHECK(contains(ask(answer, dialect::llama_cpp).problem, part));
    };
    llama_fails(llama({{"truncated", true}}), "\"truncated\"");
    llama_fails(llama({{"tokens", json::array()}, {"content", "abc"}}), "text without \"tokens\"");
    llama_fails(llama({{"stop_type", "none"}}), "\"stop_type\": \"none\"");
    llama_fails(llama({{"tokens", {1}}}), "cut after 1 of 2 tokens");
}

TEST_CASE("token numbers that are none") {
    for (const json& token : {json(-7), json(4294967297), json(18446744073709551615U), json(1.9),
                              json(1e300), json(true), json("a"), json(nullptr)}) {
        const std::string must =
            " has " + token.dump() + ", must be integers in [0, 2147483647] (1 try)";
        CHECK(ask(choice({{"token_ids", {1, token}}})).problem == "\"token_ids\"" + must);
        CHECK(ask(llama({{"tokens", {1, token}}}), dialect::llama_cpp).problem ==
              "\"tokens\"" + must);
    }
}

TEST_CASE("log-probabilities that are not there cost the log-probability alone") {
    for (const json& value :
         {json(nullptr), json("x"), json{-1, -1}, json::object(), json(5),
          json{{"token_logprobs", nullptr}}, json{{"token_logprobs", {nullptr, -1}}},
          json{{"token_logprobs", {-1}}}, json{{"token_logprobs", {"a", true}}}}) {
        INFO(value);
        const asked vllm_says = ask(choice({{"logprobs", value}}));
        CHECK(vllm_says.problem.empty());
        CHECK(std::isnan(vllm_says.rollout.log_probability));
        const asked llama_says =
            ask(llama({{"completion_probabilities", value}}), dialect::llama_cpp);
        CHECK(llama_says.problem.empty());
        CHECK(std::isnan(llama_says.rollout.log_probability));
    }
    const json per_token{{{"logprob", nullptr}}, {{"logprob", -1}}};
    CHECK(std::isnan(ask(llama({{"completion_probabilities", per_token}}), dialect::llama_cpp)
                         .rollout.log_probability));
}

TEST_CASE("how a rollout ended") {
    // Not known to have ended: a cut one.
    for (const json& reason : {json(nullptr), json("")}) {
        const asked says = ask(choice({{"finish_reason", reason}, {"token_ids", {1}}}));
        CHECK(says.problem.empty());
        CHECK_FALSE(says.rollout.finished);
        CHECK(says.rollout.sequence == token_list{0, 1});
    }
    // An end token that is the server's alone is no token of the answer.
    for (const json& stop : {json(nullptr), json(2)}) {
        const asked says = ask(choice({{"finish_reason", "stop"}, {"stop_reason", stop}}));
        CHECK(says.rollout.finished);
        CHECK(says.rollout.sequence == token_list{0, 1});
        CHECK(std::isnan(says.rollout.log_probability));
    }
    CHECK(ask(llama({{"stop_type", "eos"}}), dialect::llama_cpp, {}).rollout.sequence ==
          token_list{0, 1});
    // A stop string's tokens are.
    CHECK(ask(choice({{"finish_reason", "stop"}, {"stop_reason", "."}, {"token_ids", {1}}}))
              .rollout.sequence == token_list{0, 1});
}

TEST_CASE("a sequence that does not fit is named before anything is sent") {
    mock_server server{vllm};
    completion_server remote{quick({server.url()}), {.speaks = dialect::vllm, .context = 4}};
    const token_list fits{0, 1}, too_long{0, 1, 2};
    const std::vector<rollout_request> requests{
        {.sequence = fits, .max_tokens = 2, .end_tokens = ends},
        {.sequence = too_long, .max_tokens = 2, .end_tokens = ends}};
    CHECK(message_of<tq::invalid_option>(
              [&] { (void)remote.complete(requests, {.temperature = 0}); }) ==
          "completion_server: context = 4, must be >= 5: sequence 1 has 3 tokens, its rollout up "
          "to 2");
    CHECK(server.requests().empty());
    CHECK(remote.complete({requests.data(), 1}, {.temperature = 0}).size() == 1);
}

TEST_CASE("nonsense from one of a fleet names that one") {
    mock_server good{vllm}, bad{[](const received&, httplib::Response&response) {
        mock_server::say(response, {{"choices", json::array()}});
    }};
    completion_server remote{quick({good.url(), bad.url()}),
                             {.speaks = dialect::vllm, .path = "/api/x"}};
    const token_list prompt{0};
    const rollout_request request{.sequence = prompt, .max_tokens = 2, .end_tokens = ends};
    CHECK(remote.complete({&request, 1}, {.temperature = 0}).size() == 1);
    CHECK(contains(message_of<backend_error>([&] {
                       (void)remote.complete({&request, 1}, {.temperature = 0});
                   }),
                   bad.url() + "/api/x: 0 results for 1 requests"));
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
    CHECK(contains(message_of<backend_error>([&] { (void)codec.encode("A"); }),
                   server.url() + "/tokenize: \"tokens\" has -32, must be"));
    CHECK(contains(
        message_of<tq::invalid_option>([] { (void)tq::http::server_codec(dialect::openai, {}); }),
        "dialect = openai"));
}
