#include <tq/tq.hpp>

#include <cstdio>

int main() {
    const float logits[] = {0, 1};
    std::printf("tq %s: log-sum-exp %.4f\n", TQSTAR_VERSION_STRING,
                tq::log_sum_exp(std::span<const float>{logits}));
}
