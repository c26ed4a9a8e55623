// A trace: every step as JSON, with candidates, log pi, Q and its error, and the tilted distribution.

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <tq/ext/json/json.hpp>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    enum : tq::token_id { hi, rude, kind, bye };
    tq::tabular::bigram_model lm{{{0, 2, 1, 0}, {0, 1, 0, 2}, {0, 0, 1, 2}, {0, 0, 0, 9}}, {bye}};
    auto politeness = [](tq::token_view, tq::token_view answer) {
        double sum = 0;
        for (tq::token_id token : answer) sum += token == kind ? 1 : token == rude ? -1 : 0;
        return sum;
    };
    tq::direct_transfer q{lm, politeness, {.horizon = 4}};
    tq::decoder decode{lm, q, {.alpha = 0.5, .top_k = 2}};
    for (const tq::step& step : decode.generate(tq::token_list{hi}, 2)) {
        const nlohmann::json trace = step;
        std::printf("token %d of %zu candidates:\n", trace["token"].get<int>(),
                    trace["candidates"].size());
        for (const nlohmann::json& candidate : trace["candidates"])
            std::printf("  token %d: pi %.2f, Q %.1f, p %.2f\n", candidate["token"].get<int>(),
                        std::exp(candidate["log_pi"].get<double>()), candidate["q"].get<double>(),
                        std::exp(candidate["log_p"].get<double>()));
        std::printf("  spent: %s\n", trace["spent"].dump().c_str());
    }
}
