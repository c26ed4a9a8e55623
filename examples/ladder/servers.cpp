// The policy and the reward run here, the baseline's rollouts on llama-server, or on several of them.

#include <cstdio>
#include <string>
#include <tq/adapters/http/http.hpp>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>

int main(int argc, char** argv) try {
    if (argc < 5) return std::puts("usage: servers MODEL.gguf HEAD.safetensors PROMPT URL..."), 2;
    tq::llama_cpp::model_file file{argv[1]};
    tq::llama_cpp::language_model policy{file};
    tq::llama_cpp::reward_head reward{file, argv[2]};

    // The same model with a LoRA adapter; requests take turns, and the next server helps out.
    tq::http::completion_server baseline{{.urls = {argv + 4, argv + argc}},
                                         {.speaks = tq::http::dialect::llama_cpp}};
    tq::direct_transfer q{baseline, reward, {.horizon = 32}};
    tq::decoder decode{policy, q, {.alpha = 0.1, .race = tq::race_mode::exact}};
    for (const tq::step& step : decode.generate(file.chat_prompt(argv[3]), 32)) {
        if (!step.ends) std::printf("%s", file.piece(step.token).c_str());
        std::fflush(stdout);
    }
    std::puts("");
} catch (const std::exception& error) {
    std::fprintf(stderr, "\nservers: %s\n", error.what());
    return 1;
}
