// Any float bits through the kernels: no crash, and what they promise of every float.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "fuzz.hpp"
#include "tq/kernels/argmax.hpp"
#include "tq/kernels/gumbel.hpp"
#include "tq/kernels/log_sum_exp.hpp"
#include "tq/kernels/sample.hpp"
#include "tq/kernels/tilt.hpp"
#include "tq/kernels/top_k.hpp"

namespace {

using tq::fuzz::require;

void check_top_k(std::span<const float> row, std::size_t k) {
    std::vector<tq::scored_token> top(std::min(k, row.size()));
    const std::size_t found = tq::top_k(row, top);
    require(found <= top.size(), "no more than k are found");
    for (std::size_t i = 0; i < found; ++i) {
        const auto token = static_cast<std::size_t>(top[i].token);
        require(token < row.size(), "tokens are of the row");
        require(std::memcmp(&row[token], &top[i].logit, sizeof(float)) == 0 ||
                    row[token] == top[i].logit,
                "logits are those of their tokens");
        require(i == 0 || !(top[i - 1].logit < top[i].logit), "logits descend");
    }
    const tq::top_k_result both = tq::top_k_log_partition(row, top, 1.0);
    const double alone = tq::log_sum_exp(row);
    require(std::isnan(alone) == std::isnan(both.log_partition), "NaN stays NaN");
}

void check_tilt(std::span<const float> row) {
    const std::size_t n = std::min<std::size_t>(row.size() / 2, 64);
    const std::vector<double> prior(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(n));
    const std::vector<double> q(row.begin() + static_cast<std::ptrdiff_t>(n),
                                row.begin() + static_cast<std::ptrdiff_t>(2 * n));
    std::vector<double> log_p(n);
    (void)tq::tilt(prior, q, 0.5, log_p);
    bool finite = n > 0;
    for (std::size_t i = 0; i < n; ++i)
        finite = finite && std::abs(prior[i]) < 1e30 && std::abs(q[i]) < 1e30;
    if (!finite) return;
    double sum = 0;
    for (const double x : log_p) sum += std::exp(x);
    require(std::abs(sum - 1) < 1e-9, "a tilt of finite numbers sums to one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 8) return 0;
    const std::size_t k = data[0];
    const double temperature = data[1] % 8 == 0 ? 0 : data[1] / 16.0;
    const double top_p = (data[2] + 1) / 256.0;
    const std::uint64_t seed = data[3];
    std::vector<float> row((size - 4) / sizeof(float));
    std::memcpy(row.data(), data + 4, row.size() * sizeof(float));
    if (data[2] % 3 == 0 && !row.empty()) {  // long rows, for the vector loops
        const std::vector<float> once = row;
        while (row.size() < 600) row.insert(row.end(), once.begin(), once.end());
    }
    check_top_k(row, k);
    check_tilt(row);
    const tq::token_id best = tq::argmax(std::span<const float>{row});
    require(best == tq::no_token || static_cast<std::size_t>(best) < row.size(),
            "argmax is of the row");
    if (row.empty()) return 0;
    tq::row_sampler sampler{{.temperature = temperature, .top_p = top_p}};
    const tq::token_id drawn = sampler(row, tq::random_key{seed}.uniform(0));
    require(drawn == tq::no_token || static_cast<std::size_t>(drawn) < row.size(),
            "draws are of the row");
    return 0;
}
