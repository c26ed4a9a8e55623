#include <cstdio>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>

int main(int argc, char** argv) try {
    if (argc != 5)
        return std::puts("usage: real_model MODEL.gguf LORA.gguf HEAD.safetensors PROMPT"), 2;
    tq::llama_cpp::model_file file{argv[1]};
    tq::llama_cpp::language_model policy{file}, baseline{file, {.lora = argv[2]}};
    tq::llama_cpp::reward_head reward{file, argv[3]};

    tq::direct_transfer q{baseline, reward, {.horizon = 32}};
    tq::decoder decode{policy, q, {.alpha = 0.1}};
    for (const tq::step& step : decode.generate(file.chat_prompt(argv[4]), 32))
        if (!step.ends) std::printf("%s", file.piece(step.token).c_str());
    std::puts("");
} catch (const std::exception& error) {
    std::fprintf(stderr, "real_model: %s\n", error.what());
    return 1;
}
