// write_report FOLDER: a report of a tabular world with hostile texts (report.html), and what the
// library says of its steps at other alphas (expected.json).

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/ext/json/json.hpp>
#include <tq/tabular/models.hpp>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "report_page.hpp"

namespace {

using nlohmann::json;

const std::vector<std::string> texts{"</script><script>window.hacked = true</script>",
                                     "<img src=x onerror=\"window.hacked = true\">",
                                     " \"quoted\" & 'so'", "\xF0\x9F\x98\x80 \xE2\x80\xA8 \xCF\x80",
                                     ""};

json figure(double mean, double se) { return {{"mean", mean}, {"se", se}}; }

json method(const std::string& name, const std::string& label, double reward, double cost,
            json alpha, const std::string& group) {
    return {{"name", name},
            {"label", label},
            {"kind", "tq"},
            {"group", group},
            {"alpha", alpha},
            {"answers", 4},
            {"reward", figure(reward, 0.01)},
            {"judge", figure(reward - 0.2, 0.02)},
            {"kl", figure(10 * reward, 0.5)},
            {"coherence", nullptr},
            {"diversity", figure(0.9, 0.01)},
            {"perplexity", figure(20, 1)},
            {"length", figure(31, 0)},
            {"model_tokens_per_token", cost},
            {"tokens_per_second", 10},
            {"difference", {{"mean", reward - 0.6}, {"se", 0.01}, {"lo", 0.1}, {"hi", 0.2}}},
            {"reward_ratio", reward / 0.6}};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: write_report FOLDER\n";
        return 2;
    }
    const std::string folder = argv[1];
    const tq::tabular::tree world{5, 4};
    const auto pi = tq::tabular::random_policy(world, tq::random_key{1});
    const auto q =
        tq::tabular::expectation(world, pi, tq::tabular::random_rewards(world, tq::random_key{2}));
    tq::tabular::tree_policy policy{world, pi};
    tq::tabular::tree_value value{world, q};
    const tq::token_list prompt{0};

    json steps = json::array(), expected = json::array();
    tq::decoder decode{policy, value, {.alpha = 0.1, .top_k = 5, .select = tq::selection::argmax}};
    tq::token_list sequence = prompt;
    for (const tq::step& step : decode.generate(prompt, 4)) {
        json line = step;
        for (json& candidate : line["candidates"])
            candidate["text"] = texts[candidate["token"].get<std::size_t>()];
        line["text"] = texts[static_cast<std::size_t>(step.token)];
        line["select"] = "argmax";
        const tq::decode_state state{.sequence = sequence,
                                     .prompt_size = 1,
                                     .tokens_left = 4 - sequence.size() + 1,
                                     .end_tokens = {},
                                     .key = tq::random_key{0}};
        json other = json::array();
        for (const double exponent : {-2.5, -1.0, -0.25, 0.75}) {
            tq::scorer scorer{policy, value, {.alpha = std::pow(10, exponent), .top_k = 5}};
            const tq::tilted_distribution at = scorer.score({&state, 1}).front();
            double kl = 0;  // on the candidates: all of the vocabulary here
            json p = json::object();
            for (std::size_t i = 0; i < at.size(); ++i) {
                kl += std::exp(at.log_p[i]) * (at.log_p[i] - at.log_pi[i]);
                p[std::to_string(at.tokens[i])] = std::exp(at.log_p[i]);
            }
            other.push_back({{"exponent", exponent}, {"kl", kl}, {"p", p}});
        }
        expected.push_back(std::move(other));
        steps.push_back(std::move(line));
        sequence.push_back(step.token);
    }
    json dropped = steps[0];  // a race has left a candidate out
    dropped["candidates"][4]["q"] = nullptr;
    dropped["candidates"][4]["log_p"] = nullptr;
    steps.push_back(dropped);
    json bare = steps[0];  // decided without a rollout; its candidates in another order
    std::ranges::reverse(bare["candidates"]);
    for (json& candidate : bare["candidates"])
        candidate["q"] = candidate["q_error"] = candidate["log_p"] = nullptr;
    steps.push_back(bare);
    json untilted = steps[0];  // alpha = infinity, and a candidate that the policy forbids
    untilted["alpha"] = nullptr;
    untilted["candidates"][0]["log_pi"] = untilted["candidates"][0]["log_prior"] = nullptr;
    steps.push_back(untilted);

    json results{{"name", "report <b>test</b>"},
                 {"description", texts[0]},
                 {"machine", "a machine"},
                 {"command", "write_report"},
                 {"target", "reward"},
                 {"judge", "a judge"},
                 {"against", "plain"},
                 {"seeds", 1},
                 {"tokens", 4},
                 {"prompts", {texts[1], "plain text"}},
                 {"config", {{"text", texts[0]}}},
                 {"headline",
                  {{"method", "tq_0.1"},
                   {"reward_ratio_over_plain", 1.5},
                   {"judge_win_tie", 0.7},
                   {"coherence_ratio", nullptr},
                   {"diversity_ratio", 1.0},
                   {"reward_over_best_of_n_equal_tokens", 0.01},
                   {"se_reward_over_best_of_n_equal_tokens", 0.005}}},
                 {"win_tie", json::array()},
                 {"explorer",
                  {{{"method", "tq_0.1"},
                    {"prompt", 0},
                    {"seed", 0},
                    {"text", texts[0]},
                    {"reward", 0.9},
                    {"steps", steps}}}}};
    results["methods"] = {method("plain", "plain model", 0.6, 1, nullptr, ""),
                          method("tq_0.01", "TQ* 0.01", 0.95, 30, 0.01, "tq by alpha"),
                          method("tq_0.1", "TQ* 0.1", 0.93, 20, 0.1, "tq by alpha"),
                          method("tq_1", texts[1], 0.8, 15, 1, "tq by alpha")};
    for (int i = 0; i < 4; ++i) results["win_tie"].push_back({0.5, 0.25, 0.75, 1.0});
    std::ofstream{folder + "/report.html"} << evaluation::report_page(results);
    std::ofstream{folder + "/expected.json"} << expected.dump();
}
