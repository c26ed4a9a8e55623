// expect: tq: `complete` of a baseline must take \(std::span<const tq::rollout_request>
#include <tq/concepts/baseline.hpp>

struct server {
    std::vector<tq::token_list> complete(std::span<const tq::rollout_request>, tq::sampling_rule) {
        return {};
    }
};

static_assert(tq::explain_baseline<server>());
