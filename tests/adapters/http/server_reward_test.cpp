#include "tq/adapters/http/server_reward.hpp"

#include <chrono>
#include <cmath>

#include "mock_server.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"
#include "tq/adapters/http/self_check.hpp"

using namespace std::chrono_literals;
using nlohmann::json;
using tq::answer_view;
using tq::backend_error;
using tq::token_list;
using tq::http::reward_options;
using tq::http::reward_path;
using tq::http::server_reward;
using tq::test::contains;
using tq::test::message_of;
using tq::test::mock_server;
using tq::test::received;

namespace {

std::string letters(tq::token_view tokens) {
    std::string text;
    for (const tq::token_id token : tokens) text += static_cast<char>('a' + token);
    return text;
}

const token_list prompt_a{0}, prompt_b{1}, x{2}, y{3, 3}, z{};
const std::vector<answer_view> answers{{prompt_a, x}, {prompt_b, y}, {prompt_a, z}, {prompt_a, y}};

/// The reward's values of `answers`.
std::vector<double> values(server_reward& reward) {
    std::vector<double> result(answers.size());
    tq::score_answers(reward, answers, result);
    return result;
}

tq::http::server_options quick(const mock_server& server) {
    return {.urls = {server.url()}, .response_timeout = 5s, .retries = 1, .backoff = 1ms};
}

/// A text's value, as every path here has it.
double value(const std::string& text) {
    double sum = 0;
    for (const char c : text) sum += c - 'a' + 1;
    return sum;
}

}  // namespace

TEST_CASE("pairs of prompt and answer, one prompt to a request") {
    const bool ranks = GENERATE(true, false);
    const bool bare = ranks && GENERATE(true, false);  // a list of "score", as SGLang says it
    mock_server server{[&](const received& request, httplib::Response& response) {
        json list = json::array();
        const json& texts = request.body[ranks ? "documents" : "text_2"];
        const double query = value(request.body[ranks ? "query" : "text_1"]);
        for (std::size_t i = texts.size(); i-- > 0;)
            list.push_back(
                {{"index", i},
                 {ranks && !bare ? "relevance_score" : "score", 100 * query + value(texts[i])}});
        mock_server::say(response, bare ? list : json{{ranks ? "results" : "data", list}});
    }};
    server_reward reward{quick(server),
                         {.path = ranks ? reward_path::rerank : reward_path::score,
                          .model = "judge",
                          .decode = letters}};
    CHECK(values(reward) == std::vector<double>{103, 208, 100, 108});
    CHECK(server.requests().size() == 2);
    CHECK(server.requests()[0].path == (ranks ? "/v1/rerank" : "/score"));
    CHECK(server.requests()[0].body["model"] == "judge");
    CHECK(server.requests()[0].body["use_activation"] == false);
}

TEST_CASE("prompt and answer as one text") {
    const auto path = GENERATE(reward_path::classify, reward_path::pooling, reward_path::embedding);
    const char* name = path == reward_path::classify  ? "probs"
                       : path == reward_path::pooling ? "data"
                                                      : "embedding";
    mock_server server{[&](const received& request, httplib::Response& response) {
        json list = json::array();
        for (const json& text : request.body["input"])
            list.push_back({{"index", list.size()}, {name, {-1, value(text)}}});
        mock_server::say(response, {{"data", list}});
    }};
    SECTION("an entry") {
        server_reward reward{quick(server),
                             {.path = path, .decode = letters, .output = 1, .batch = 3}};
        CHECK(values(reward) == std::vector<double>{4, 10, 1, 9});
        CHECK(server.requests().size() == 2);
    }
    SECTION("a function of all") {
        server_reward reward{quick(server),
                             {.path = path,
                              .decode = letters,
                              .value = [](std::span<const double> v) { return v[0] + 10 * v[1]; }}};
        CHECK(values(reward) == std::vector<double>{39, 99, 9, 89});
    }
    SECTION("an entry that is not there") {
        server_reward reward{quick(server), {.path = path, .decode = letters, .output = 2}};
        CHECK(contains(message_of<backend_error>([&] { (void)values(reward); }),
                       "/" +
                           std::string{path == reward_path::embedding ? "v1/embeddings: "
                                       : path == reward_path::pooling ? "pooling: "
                                                                      : "classify: "} +
                           "output 2 of \"" + name + "\", which is [-1,"));
    }
}

TEST_CASE("states of llama-server come as a list of rows") {
    mock_server server{[](const received& request, httplib::Response& response) {
        json list = json::array();
        for (const json& text : request.body["input"])
            list.push_back({{"index", list.size()}, {"embedding", {{0, 0}, {1, value(text)}}}});
        mock_server::say(response, list);
    }};
    server_reward reward{quick(server),
                         {.path = reward_path::state, .decode = letters, .output = 1}};
    CHECK(values(reward) == std::vector<double>{4, 10, 1, 9});
    CHECK(server.requests()[0].path == "/embedding");
    CHECK(server.requests()[0].body["embd_normalize"] == -1);
    CHECK_FALSE(server.requests()[0].body.contains("use_activation"));
}

TEST_CASE("without a codec, token numbers travel") {
    mock_server server{[](const received& request, httplib::Response& response) {
        json list = json::array();
        for (const json& tokens : request.body["input"])
            list.push_back({{"index", list.size()}, {"probs", {tokens.size()}}});
        mock_server::say(response, {{"data", list}});
    }};
    server_reward reward{
        quick(server),
        {.path = reward_path::classify, .at = "/v1/classify", .extra = {{"user", "tq"}}}};
    CHECK(values(reward) == std::vector<double>{2, 3, 1, 3});
    const received asked = server.requests()[0];
    CHECK(asked.path == "/v1/classify");
    CHECK(asked.body["input"] == json{{0, 2}, {1, 3, 3}, {0}, {0, 3, 3}});
    CHECK(asked.body["add_special_tokens"] == false);
    CHECK(asked.body["use_activation"] == false);
    CHECK(asked.body["user"] == "tq");
}

TEST_CASE("finished answers are judged with their end token") {
    const bool pair = GENERATE(true, false);
    mock_server server{[&](const received& request, httplib::Response& response) {
        json list = json::array();
        for (const json& text : request.body[pair ? "text_2" : "input"])
            list.push_back({{"score", value(text)}, {"probs", {value(text)}}});
        mock_server::say(response, {{"data", list}});
    }};
    server_reward reward{
        quick(server),
        {.path = pair ? reward_path::score : reward_path::classify, .decode = letters, .end = 9}};
    const std::vector<answer_view> two{{prompt_a, x, true}, {prompt_a, x, false}};
    std::vector<double> result(2);
    tq::score_answers(reward, two, result);
    CHECK(result[0] - result[1] == 10);
}

TEST_CASE("a server that says what its model says") {
    mock_server server{[](const received& request, httplib::Response& response) {
        json list = json::array();
        for (const json& tokens : request.body["input"])
            list.push_back({{"probs", {tokens[1] == 2 ? 2.6712 : -0.7240}}});
        mock_server::say(response, {{"data", list}});
    }};
    server_reward reward{quick(server), {.path = reward_path::classify}};
    const token_list prompt{0}, good{2}, bad{3};
    tq::http::self_check(reward, {{prompt, good, 2.671}, {prompt, bad, -0.724}});
    CHECK(server.requests().size() == 1);
}

TEST_CASE("known scores show what a server does to a reward") {
    double scale = 1, sigmoid = 0;  // what the server makes of it
    const auto says = [&] {
        return [=](tq::token_view, tq::token_view answer) {
            const double score = scale * static_cast<double>(answer[0]);
            return sigmoid != 0 ? 1 / (1 + std::exp(-score)) : score;
        };
    };
    const std::vector<tq::http::known_score> known{{{0}, {2}, 2}, {{0}, {-1}, -1}};
    auto honest = says();
    CHECK_NOTHROW(tq::http::self_check(honest, known));
    scale = 0;
    auto constant = says();
    CHECK(message_of<backend_error>([&] { tq::http::self_check(constant, known); }) ==
          "self_check: answer 0 is known to have 2.000000, the server says 0.000000");
    scale = sigmoid = 1;
    auto squashed = says();
    CHECK(contains(message_of<backend_error>([&] { tq::http::self_check(squashed, known); }),
                   "says 0.880797, its sigmoid"));
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       tq::http::self_check(honest, {{{0}, {2}, 2}});
                   }),
                   "known = 1 scores, must be two or more that differ"));
}

TEST_CASE("forms that vectors come in") {
    const auto [form, expected] =
        GENERATE(table<json, double>({{5, 5.}, {{{1, 2}, {6, 4}}, 6.}, {json::array({7}), 7.}}));
    const json data = form;
    mock_server server{[&](const received& request, httplib::Response& response) {
        json list = json::array();
        for (std::size_t i = 0; i < request.body["input"].size(); ++i)
            list.push_back({{"index", i}, {"data", data}});
        mock_server::say(response, {{"data", list}});
    }};
    server_reward reward{quick(server), {.path = reward_path::pooling, .decode = letters}};
    CHECK(values(reward) == std::vector<double>(4, expected));
}

TEST_CASE("a stated range is checked, and nonsense is refused") {
    const auto message = [](const json& score) {
        mock_server server{[&](const received& request, httplib::Response& response) {
            json list = json::array();
            for (std::size_t i = 0; i < request.body["text_2"].size(); ++i)
                list.push_back({{"index", i}, {"score", score}});
            mock_server::say(response, {{"data", list}});
        }};
        server_reward reward{quick(server), {.decode = letters, .range = tq::reward_range{0, 1}}};
        return message_of<backend_error>([&] { (void)values(reward); });
    };
    CHECK(message(.5) == "nothing was thrown");
    CHECK(contains(message(2), "must be finite and in [0"));
    for (const json& none : {json("good"), json(nullptr), json(true)})
        CHECK(contains(
            message(none),
            "/score: an answer without a number \"score\": {\"index\":0,\"score\":" + none.dump()));
}

TEST_CASE("reward options out of range") {
    const auto refused = [](reward_options options, const std::string& part) {
        CHECK(contains(message_of<tq::invalid_option>([&] {
                           server_reward{{.urls = {"http://x"}}, options};
                       }),
                       part));
    };
    refused({}, "decode = none, must be a function");
    refused({.decode = letters, .batch = 0}, "batch = 0, must be >= 1");
}
