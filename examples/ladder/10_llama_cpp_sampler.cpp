// A llama.cpp program that has its own loop: TQ* is one more sampler in its chain.

#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>

/// llama.cpp's own loop: 16 tokens from a chain.
tq::token_list sample(llama_model* model, llama_sampler* chain, tq::token_list prompt) {
    llama_context_params params = llama_context_default_params();
    params.n_threads = params.n_threads_batch = 1;  // more than there are cores would crawl
    llama_context* context = llama_init_from_model(model, params);
    tq::token_list answer;
    llama_batch batch = llama_batch_get_one(prompt.data(), static_cast<int>(prompt.size()));
    while (answer.size() < 16 && llama_decode(context, batch) == 0) {
        answer.push_back(llama_sampler_sample(chain, context, -1));
        batch = llama_batch_get_one(&answer.back(), 1);
    }
    llama_free(context);
    return answer;
}

int main() try {
    const char* path = std::getenv("TQ_MODEL");
    if (path == nullptr) return std::puts("set TQ_MODEL to a SmolLM2-135M-Instruct GGUF file"), 2;
    const std::string assets = TQSTAR_ASSETS_DIR;
    tq::llama_cpp::set_log({});
    llama_model* loaded = llama_model_load_from_file(path, llama_model_default_params());
    const auto file = tq::llama_cpp::model_file::borrowed(loaded);
    const tq::token_list prompt = file.chat_prompt("Tell me about your day.");

    tq::llama_cpp::reward_head reward{file, assets + "/valence_head.safetensors"};
    tq::direct_transfer q{
        tq::llama_cpp::language_model{file, {.lora = assets + "/baseline_valence_dpo.gguf"}},
        reward,
        {.horizon = 16}};
    const auto answer_with_alpha = [&](double alpha) {
        const tq::llama_cpp::sampler_options options{.decode = {.alpha = alpha}, .max_tokens = 16};
        llama_sampler* chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
        llama_sampler_chain_add(chain, llama_sampler_init_top_k(8));
        if (alpha > 0) {
            llama_sampler_chain_add(chain, tq::llama_cpp::make_sampler(file, q, options));
            tq::llama_cpp::prime(chain, prompt);
        }
        llama_sampler_chain_add(chain, llama_sampler_init_greedy());
        tq::token_list answer = sample(loaded, chain, prompt);
        if (alpha > 0) tq::llama_cpp::rethrow(chain);
        llama_sampler_free(chain);
        return answer;
    };
    const tq::token_list plain = answer_with_alpha(0), steered = answer_with_alpha(0.05);
    std::printf("without steering (alpha 1e9) the answer is llama.cpp's own: %s\n",
                answer_with_alpha(1e9) == plain ? "yes" : "no");
    std::printf("steering changes it: %s\n", steered == plain ? "no" : "yes");
    for (const tq::token_list& answer : {plain, steered}) {
        const tq::answer_view judged{prompt, answer};
        double value = 0;
        reward.score({&judged, 1}, {&value, 1});
        std::fprintf(stderr, "reward %.3f: %s\n", value, file.detokenize(answer).c_str());
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
