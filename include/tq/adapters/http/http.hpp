#pragma once
// Models and rewards on servers: llama-server, vLLM, or whatever speaks the OpenAI API.
//   completion_server  a baseline
//   server_reward      a reward
//   self_check         does the reward say what its model says?
//   server_codec       tokens <-> text, by the server
//   server_options     URLs, key, timeouts, retries; several URLs are a fleet

#include "client.hpp"
#include "completion_server.hpp"
#include "options.hpp"
#include "self_check.hpp"
#include "server_reward.hpp"
#include "text.hpp"
