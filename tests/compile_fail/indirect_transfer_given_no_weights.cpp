// expect: tq: weights of rollouts are implicit_weights, explicit_weights or reference_weights
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    tq::tabular::bigram_model model{{{0.0F}}};
    auto reward = [](tq::token_view, tq::token_view) { return 0.0; };
    tq::indirect_transfer value{model, reward, tq::zero_value{}};
    return static_cast<int>(value.options().rollouts);
}
