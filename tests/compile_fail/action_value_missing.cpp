// expect: tq: an action value needs `evaluate\(std::span<const tq::value_query>\)`
#include <tq/concepts/action_value.hpp>

struct table {
    double evaluate(const tq::decode_state&, tq::token_id) { return 0; }
};

static_assert(tq::explain_action_value<table>());
