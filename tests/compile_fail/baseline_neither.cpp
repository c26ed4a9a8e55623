// expect: tq: a policy needs `vocab_size\(\)` returning the number of tokens
#include <tq/concepts/baseline.hpp>

struct nothing {};

static_assert(tq::explain_baseline<nothing>());
