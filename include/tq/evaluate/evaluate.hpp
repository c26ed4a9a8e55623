#pragma once
// Comparing methods and judging text: everything of this room.

#include "coherence.hpp"
#include "diversity.hpp"
#include "paired.hpp"
#include "perplexity.hpp"
