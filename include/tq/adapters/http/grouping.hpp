#pragma once
// Which requests travel together.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "../../config.hpp"

namespace tq::http::detail {

/// Things that travel together: each of 0 ... count - 1 joins the first group that `fits(group, i)`
/// lets it into, or begins one.
template <class Fits>
[[nodiscard]] std::vector<std::vector<std::size_t>> grouped(std::size_t count, Fits fits) {
    std::vector<std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < count; ++i) {
        const auto found =
            std::ranges::find_if(groups, [&](const auto& group) { return fits(group, i); });
        if (found != groups.end())
            found->push_back(i);
        else
            groups.push_back({i});
    }
    return groups;
}

}  // namespace tq::http::detail
