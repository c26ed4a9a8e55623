#pragma once
// Adds up the time spent in a scope.

#include <chrono>

namespace tq::detail {

class stopwatch {
public:
    explicit stopwatch(double& seconds) noexcept : seconds_{&seconds} {}
    stopwatch(const stopwatch&) = delete;
    stopwatch& operator=(const stopwatch&) = delete;
    ~stopwatch() {
        const std::chrono::duration<double> passed = clock::now() - start_;
        *seconds_ += passed.count();
    }

private:
    using clock = std::chrono::steady_clock;
    double* seconds_;
    clock::time_point start_ = clock::now();
};

}  // namespace tq::detail
