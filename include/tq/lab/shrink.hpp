#pragma once
// Making few rollouts count: what the candidates of a state tell about each other's Q.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace tq {

/// Q values of a state after shrinkage.
struct shrunk_values {
    std::vector<double> q;  ///< [n] posterior means
    std::vector<double>
        error;  ///< [n] posterior standard errors; as they came in where nothing is known
    double within =
        0;  ///< s^2, variance of one rollout's reward around its candidate's Q; NaN = unknown
    double between = 0;  ///< tau^2, variance of the true Q around the fit; NaN = unknown
};

namespace detail {

/// Orthonormal columns, [columns][n], that span the constant and the covariates, at the entries
/// that are used; 0 at the others. Columns that depend on earlier ones are left out.
[[nodiscard]] inline std::vector<std::vector<double>> regression_basis(
    const std::vector<bool>& used, std::span<const std::span<const double>> covariates) {
    const std::size_t n = used.size();
    const auto dot = [&](const std::vector<double>& a, const std::vector<double>& b) {
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
        return sum;
    };
    std::vector<std::vector<double>> basis;
    for (std::size_t c = 0; c <= covariates.size(); ++c) {
        std::vector<double> column(n);
        for (std::size_t i = 0; i < n; ++i)
            if (used[i]) column[i] = c == 0 ? 1.0 : covariates[c - 1][i];
        const double before = std::sqrt(dot(column, column));
        for (int twice = 0; twice < 2; ++twice)  // the second time takes the rounding out
            for (const std::vector<double>& u : basis) {
                const double along = dot(column, u);
                for (std::size_t i = 0; i < n; ++i) column[i] -= along * u[i];
            }
        const double length = std::sqrt(dot(column, column));
        if (!(length > 1e-9 * before) || !std::isfinite(length)) continue;
        for (double& x : column) x /= length;
        basis.push_back(std::move(column));
    }
    return basis;
}

/// Variance of one rollout, pooled over candidates: sum (m_i - 1) m_i error_i^2 / sum (m_i - 1).
[[nodiscard]] inline double pooled_variance(std::span<const double> error,
                                            std::span<const std::size_t> rollouts) noexcept {
    double sum = 0, degrees = 0;
    for (std::size_t i = 0; i < error.size(); ++i) {
        if (rollouts[i] < 2 || !std::isfinite(error[i])) continue;
        const auto m = static_cast<double>(rollouts[i]);
        sum += (m - 1) * m * error[i] * error[i];
        degrees += m - 1;
    }
    return degrees > 0 ? sum / degrees : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace detail

/// Empirical-Bayes shrinkage of a state's Q values. Each mean of m rollouts is taken as a normal
/// draw around a true Q, and the true Q as normal around a fit: their mean, or a linear regression
/// on covariates that are known of every candidate (log prior, the reward of the prefix, a greedy
/// rollout).
///
///     Qhat_i ~ N(Q_i, v_i),   v_i = s^2 / m_i;        Q_i ~ N(fit_i, tau^2)
///     posterior mean = Qhat_i - b_i (Qhat_i - fit_i),   b_i = v_i / (v_i + tau^2)
///
/// s^2 is pooled over the candidates: two rollouts of one tell nothing, of eight something. The fit
/// is by least squares, and tau^2 by the method of moments, which is unbiased before it is cut at
/// 0:
///
///     tau^2 = max(0, [sum_i residual_i^2 - sum_i v_i (1 - h_ii)] / (n - columns)),   h = hat
///     matrix
///
/// What it does to the tilt. Where all v_i are alike, b is one number, so that the tilt by exp(q /
/// alpha) is that of the raw values at the larger alpha / (1 - b) (with covariates: of the part
/// that they do not explain): the noise in Q no longer passes for reward. The closed form maximises
/// E_p[Q] - alpha KL(p || prior), which is linear in Q: of all tilts that by the posterior mean is
/// the best on average, if the model above is right.
/// It is no cure for noise: an argmax among candidates with the same b and the same prior is
/// unchanged.
///
/// Source: Morris, JASA 1983 (the mean); Fay and Herriot, JASA 1979 (the regression); tau^2: Prasad
/// and Rao, JASA 1990.
///
/// shapes:  q, error, rollouts [n]; covariates [columns][n], finite
/// edges:   error 0 with 0 rollouts (an answer judged as it stands): exact, v = 0: kept, and
///          counted in the fit. error 0 with more than one rollout: rewards that happened to
///          be equal; noisy as the others. Error unknown (NaN) with rollouts: v = s^2 / m.
///          Error unknown without rollouts, or q not finite: left out and kept as it is. A
///          covariate that is constant or depends on earlier ones is ignored.
/// no-op:   if no candidate has two rollouts (s^2 unknown: between and within are NaN), if s^2 = 0,
///          or if fewer than columns + 4 candidates are left to fit, the constant being no column:
///          with so few the raw values are better
/// returns: the posterior errors count the noise of the fit, not that of s^2 and tau^2
/// cost:    O(n columns^2 + n^2); allocates. Thread-safe.
[[nodiscard]] inline shrunk_values shrink(
    std::span<const double> q, std::span<const double> error, std::span<const std::size_t> rollouts,
    std::span<const std::span<const double>> covariates = {}) {
    constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    const std::size_t n = q.size();
    shrunk_values result{{q.begin(), q.end()},
                         {error.begin(), error.end()},
                         detail::pooled_variance(error, rollouts),
                         unknown};
    if (!(result.within > 0)) return result;

    std::vector<bool> used(n);
    std::vector<double> v(n);
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; ++i) {
        used[i] = std::isfinite(q[i]) && (rollouts[i] > 0 || error[i] == 0);
        if (rollouts[i] > 0) v[i] = result.within / static_cast<double>(rollouts[i]);
        count += used[i];
    }
    const auto basis = detail::regression_basis(used, covariates);
    if (count < basis.size() + 3) return result;

    // h[i][j] = sum over columns u_i u_j; the fit is h q.
    std::vector<double> fit(n), hat(n * n);
    for (const std::vector<double>& u : basis)
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t j = 0; j < n; ++j) hat[i * n + j] += u[i] * u[j];
    double excess = 0;
    for (std::size_t i = 0; i < n; ++i) {
        if (!used[i]) continue;
        for (std::size_t j = 0; j < n; ++j)
            if (used[j]) fit[i] += hat[i * n + j] * q[j];
        const double residual = q[i] - fit[i];
        excess += residual * residual - v[i] * (1 - hat[i * n + i]);
    }
    const double between = (std::max)(0.0, excess / static_cast<double>(count - basis.size()));
    result.between = between;
    for (std::size_t i = 0; i < n; ++i) {
        if (!used[i] || v[i] == 0) continue;
        const double b = v[i] / (v[i] + between);
        double fit_variance = 0;
        for (std::size_t j = 0; j < n; ++j)
            if (used[j]) fit_variance += hat[i * n + j] * hat[i * n + j] * (between + v[j]);
        result.q[i] = q[i] - b * (q[i] - fit[i]);
        result.error[i] = std::sqrt((1 - b) * v[i] + b * b * fit_variance);
    }
    return result;
}

}  // namespace tq
