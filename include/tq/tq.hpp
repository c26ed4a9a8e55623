#pragma once
// tq: Transfer Q* decoding. What decoding with one's own model and reward takes; including it costs
// a compiler about twice what Eigen/Core does (benchmarks/run compile_time). What not everybody
// needs is included by itself:
//
//     <tq/decode/logits_processor.hpp>    for engines that pick tokens themselves
//     <tq/decode/budget.hpp>              alpha from a budget of divergence
//     <tq/decode/any_action_value.hpp>    one type for every action value
//     <tq/rewards/combined.hpp>           several rewards as one
//     <tq/baselines/baselines.hpp>        mixtures, ways of decoding as baselines
//     <tq/rivals/rivals.hpp>              best-of-n, ARGS and other methods
//     <tq/evaluate/evaluate.hpp>          comparing methods, judging text
//     <tq/tabular/tabular.hpp>            small exact worlds
//     <tq/adapters/llama_cpp/llama_cpp.hpp>, <tq/adapters/http/http.hpp>, <tq/ext/json/json.hpp>
//                                         targets tq::llama_cpp, tq::http, tq::json

#include "config.hpp"  // first: it says what compiler all the others need

#include "baselines/mixture.hpp"
#include "concepts/action_value.hpp"
#include "concepts/baseline.hpp"
#include "concepts/decoder.hpp"
#include "concepts/estimator.hpp"
#include "concepts/policy.hpp"
#include "concepts/reward.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "core/token.hpp"
#include "core/trajectory.hpp"
#include "decode/block_decoder.hpp"
#include "decode/decoder.hpp"
#include "decode/scorer.hpp"
#include "rollout/engine.hpp"
#include "transfer/direct.hpp"
#include "transfer/indirect.hpp"
#include "transfer/soft.hpp"
#include "transfer/transfer.hpp"
#include "version.hpp"
