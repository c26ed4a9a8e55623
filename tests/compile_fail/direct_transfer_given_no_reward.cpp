// expect: tq: a reward needs `score\(std::span<const tq::answer_view>, std::span<double>\)`
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    tq::tabular::bigram_model model{{{0.0F}}};
    tq::direct_transfer value{model, tq::zero_value{}};
    return static_cast<int>(value.options().rollouts);
}
