#pragma once
// Adds up the time spent in a scope.

#include <ctime>

namespace tq::detail {

class stopwatch {
public:
    explicit stopwatch(double& seconds) noexcept : seconds_{&seconds} {}
    stopwatch(const stopwatch&) = delete;
    stopwatch& operator=(const stopwatch&) = delete;
    ~stopwatch() { *seconds_ += now() - start_; }

private:
    /// Seconds of a clock that is never set; <chrono> would be a tenth of what tq costs a compiler.
    [[nodiscard]] static double now() noexcept {
        std::timespec time{};
        clock_gettime(CLOCK_MONOTONIC, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    }

    double* seconds_;
    double start_ = now();
};

}  // namespace tq::detail
