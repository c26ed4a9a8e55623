#pragma once
// Models from GGUF files, run by llama.cpp:
//   model_file      weights and vocabulary, loaded once and shared; tokens <-> text, chat prompts
//   language_model  a policy or baseline, with a LoRA adapter or a prompt of its own
//   text_baseline   a baseline with another vocabulary than the policy's
//   reward_head     a linear reward head on a trunk
//   text_reward     a reward with another vocabulary than the policy's
//   make_sampler    the tilt as a sampler in a llama.cpp chain
//   utf8_stream     text from tokens as they come
//   set_log         shows llama.cpp's own log

#include "language_model.hpp"
#include "log.hpp"
#include "model_file.hpp"
#include "reward_head.hpp"
#include "sampler.hpp"
#include "sentence_embedder.hpp"
#include "text_baseline.hpp"
#include "text_reward.hpp"
#include "utf8.hpp"
