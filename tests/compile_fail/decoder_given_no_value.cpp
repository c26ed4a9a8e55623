// expect: tq: an action value needs `evaluate\(std::span<const tq::value_query>\)`
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    tq::tabular::bigram_model model{{{0.0F}}};
    tq::decoder decode{model, [](tq::token_view, tq::token_view) { return 0.0; }};
    return static_cast<int>(decode.end_tokens().size());
}
