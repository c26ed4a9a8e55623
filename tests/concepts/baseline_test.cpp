#include <tq/concepts/baseline.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"

namespace {

struct server {
    std::vector<tq::trajectory> complete(std::span<const tq::rollout_request>, tq::sampling_rule) {
        return {};
    }
};
struct server_by_reference {
    const std::vector<tq::trajectory>& complete(std::span<const tq::rollout_request>,
                                                const tq::sampling_rule&) {
        return kept;
    }
    std::vector<tq::trajectory> kept;
};
struct answers_in_tokens {
    std::vector<tq::token_list> complete(std::span<const tq::rollout_request>, tq::sampling_rule) {
        return {};
    }
};
struct without_rule {
    std::vector<tq::trajectory> complete(std::span<const tq::rollout_request>) { return {}; }
};
struct policy_and_server : tq::test::constant_policy, server {
    policy_and_server() : constant_policy{{0.0F}} {}
};

}  // namespace

TEST_CASE("completer: whatever finishes text by itself") {
    STATIC_REQUIRE(tq::completer<server>);
    STATIC_REQUIRE(tq::completer<server&>);
    STATIC_REQUIRE(tq::completer<server_by_reference>);
    STATIC_REQUIRE(tq::completer<policy_and_server>);
    STATIC_REQUIRE_FALSE(tq::completer<answers_in_tokens>);
    STATIC_REQUIRE_FALSE(tq::completer<without_rule>);
    STATIC_REQUIRE_FALSE(tq::completer<tq::tabular::bigram_model>);
}

TEST_CASE("baseline: a policy or a completer") {
    STATIC_REQUIRE(tq::baseline<server>);
    STATIC_REQUIRE(tq::baseline<tq::tabular::bigram_model>);
    STATIC_REQUIRE(tq::baseline<policy_and_server>);
    STATIC_REQUIRE_FALSE(tq::baseline<answers_in_tokens>);
    STATIC_REQUIRE_FALSE(tq::baseline<int>);
    STATIC_REQUIRE(tq::explain_baseline<server>());
    STATIC_REQUIRE(tq::explain_baseline<tq::tabular::bigram_model>());
    STATIC_REQUIRE(tq::explain_baseline<policy_and_server>());
}
