#pragma once
// What the kernels promise, and slow references in long double.

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string_view>
#include <tq/core/random.hpp>
#include <vector>

namespace tq::test {

/// One promise of a kernel's comment: the largest error, relative in moments.hpp, else absolute.
struct error_bound {
    std::string_view kernel, instance;
    double largest;
};

/// The one table of bounds; the comments in include/tq/kernels state the same numbers.
inline constexpr error_bound error_bounds[] = {
    {"log_sum_exp", "float", 3e-7},   {"log_sum_exp", "float at other temperatures", 1e-6},
    {"log_sum_exp", "double", 1e-12}, {"tilt", "log_p", 1e-12},
    {"moments_of", "mean", 1e-14},    {"moments_of", "squares", 1e-13},
    {"shares_of", "share", 1e-14},    {"project", "relative, per entry", 1.2e-16},
    {"cosine", "absolute", 1e-15},
};

consteval double bound_of(std::string_view kernel, std::string_view instance) {
    for (const error_bound& row : error_bounds)
        if (row.kernel == kernel && row.instance == instance) return row.largest;
    throw "no such bound";
}

/// log sum exp(x / temperature), the largest entry taken out.
template <class Real>
long double slow_log_sum_exp(std::span<const Real> x, long double temperature = 1) {
    long double top = -std::numeric_limits<long double>::infinity();
    for (const Real value : x) top = std::max(top, static_cast<long double>(value));
    if (std::isinf(top)) return top;
    long double sum = 0;
    for (const Real value : x)
        sum += std::exp((static_cast<long double>(value) - top) / temperature);
    return top / temperature + std::log(sum);
}

/// Numbers uniform on [lo, hi).
template <class Real>
std::vector<Real> random_row(std::size_t size, std::uint64_t seed, double lo, double hi) {
    std::vector<Real> row(size);
    const random_key key{seed};
    for (std::size_t i = 0; i < size; ++i)
        row[i] = static_cast<Real>(lo + (hi - lo) * key.uniform(i));
    return row;
}

}  // namespace tq::test
