#pragma once
// Small exact worlds: everything of this room.

#include "bigram.hpp"
#include "enumerate.hpp"
#include "gap.hpp"
#include "importance.hpp"
#include "models.hpp"
#include "sample.hpp"
#include "tree.hpp"
