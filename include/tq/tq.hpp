#pragma once
// tq: Transfer Q* decoding. Everything that needs no third-party engine.
//
// Adapters are included by themselves: <tq/adapters/llama_cpp/llama_cpp.hpp> (target tq::llama_cpp),
// <tq/ext/json/json.hpp> (tq::json).

#include "concepts/action_value.hpp"
#include "concepts/baseline.hpp"
#include "concepts/policy.hpp"
#include "concepts/reward.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "core/token.hpp"
#include "core/trajectory.hpp"
#include "decode/block_decoder.hpp"
#include "decode/decoder.hpp"
#include "decode/scorer.hpp"
#include "estimate/interval.hpp"
#include "estimate/mean.hpp"
#include "evaluate/paired.hpp"
#include "rollout/engine.hpp"
#include "tabular/bigram.hpp"
#include "tabular/enumerate.hpp"
#include "tabular/models.hpp"
#include "tabular/tree.hpp"
#include "transfer/direct.hpp"
#include "version.hpp"
