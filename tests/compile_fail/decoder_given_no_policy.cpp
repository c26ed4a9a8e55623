// expect: tq: a policy needs `next_logits\(std::span<const tq::token_view>\)`
#include <tq/tq.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
};

int main() {
    model nearly;
    tq::decoder decode{nearly, tq::zero_value{}};
    return static_cast<int>(decode.end_tokens().size());
}
