#pragma once
// Bisection: the one root finder of the library.

namespace tq::detail {

/// Two neighbours: a predicate holds at one and not at the other.
struct turning_point {
    double yes = 0;  ///< the last number at which it was seen to hold
    double no = 0;   ///< the first at which it was seen not to
};

/// Finds where holds(x) turns from true to false on the way from `yes` to `no`, which may be the
/// smaller.
///
/// The ends themselves are never tried. Each step halves the interval, until nothing lies between.
///
/// range:   yes, no finite; where holds() turns more than once, one of these places is found
/// returns: two numbers |yes - no| / 2^steps apart, or neighbours as floating point has them
/// cost:    at most `steps` calls; no allocation.
template <class Predicate>
[[nodiscard]] constexpr turning_point bisect(double yes, double no, int steps, Predicate holds) {
    for (int i = 0; i < steps; ++i) {
        const double middle = 0.5 * yes + 0.5 * no;
        if (middle == yes || middle == no) break;
        (holds(middle) ? yes : no) = middle;
    }
    return {yes, no};
}

}  // namespace tq::detail
