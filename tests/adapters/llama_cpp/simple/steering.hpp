#pragma once
// A sampler with its own baseline and reward, for the test of llama.cpp's own example `simple`. What
// to use comes from the environment.

#include <cstdlib>
#include <string>

#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/transfer/direct.hpp>

inline std::string setting(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

/// The sampler owns what it uses; only the loaded model must outlive it.
inline llama_sampler* steering(llama_model* loaded, int n_predict) {
    using namespace tq::llama_cpp;
    const model_file file = model_file::borrowed(loaded);
    return make_sampler(
        file,
        tq::direct_transfer{language_model{file, {.lora = setting("TQ_LORA"), .threads = 1}},
                            reward_head{file, setting("TQ_REWARD"), {.threads = 1}},
                            {.horizon = 8}},
        {.decode = {.alpha = std::stod(setting("TQ_ALPHA"))},
         .max_tokens = static_cast<std::size_t>(n_predict),
         .max_candidates = 4,
         .cuts = true});
}
