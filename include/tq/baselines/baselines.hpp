#pragma once
// Baselines made of other models: everything of this room.

#include "decoded_baseline.hpp"
#include "mixture.hpp"
