// expect: tq: soft transfer needs weights with a beta\(\)
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    tq::tabular::bigram_model model{{{0.0F}}};
    auto reward = [](tq::token_view, tq::token_view) { return 0.0; };
    tq::soft_transfer value{model, reward, tq::reference_weights{reward}};
    return static_cast<int>(value.options().rollouts);
}
