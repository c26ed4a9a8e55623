// expect: tq: `end_tokens\(\)` of a policy must be const and return a tq::token_view
#include <tq/tq.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view>) { return {}; }
    [[nodiscard]] int end_tokens() const { return 1; }
};

int main() {
    model nearly;
    tq::decoder decode{nearly, tq::zero_value{}};
    for (const tq::step& step : decode.generate(tq::token_list{0}, 1)) (void)step;
}
