#pragma once
// Every header of tq whose libraries are there, and nothing else.
#include <tq/baselines/baselines.hpp>
#include <tq/decode/any_action_value.hpp>
#include <tq/decode/budget.hpp>
#include <tq/decode/logits_processor.hpp>
#include <tq/estimate/bounds.hpp>
#include <tq/evaluate/evaluate.hpp>
#include <tq/lab/shrink.hpp>
#include <tq/rewards/combined.hpp>
#include <tq/rivals/rivals.hpp>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

#if __has_include(<nlohmann/json.hpp>)
#include <tq/ext/json/json.hpp>
#endif
#if __has_include(<curl/curl.h>)
#include <tq/adapters/http/http.hpp>
#endif
#if __has_include(<llama.h>)
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#endif
