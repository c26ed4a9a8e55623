#pragma once
// Other methods under the same concepts: everything of this room.

#include "args.hpp"
#include "best_of_n.hpp"
#include "controlled_decoding.hpp"
#include "mixed_policy.hpp"
#include "segment_rejection.hpp"
#include "speculative_rejection.hpp"
