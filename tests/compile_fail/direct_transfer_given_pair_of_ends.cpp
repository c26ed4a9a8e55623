// expect: tq: `range\(\)` of a reward must be const and return a tq::reward_range
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <utility>

struct judge {
    double operator()(tq::token_view, tq::token_view) const { return 0; }
    [[nodiscard]] std::pair<double, double> range() const { return {0, 1}; }
};

int main() {
    tq::tabular::bigram_model model{{{0.0F}}};
    tq::direct_transfer value{model, judge{}};
    tq::decoder decode{model, value};
    for (const tq::step& step : decode.generate(tq::token_list{0}, 1)) (void)step;
}
