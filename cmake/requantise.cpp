// tq_requantise IN.gguf OUT.gguf bf16|q8_0
//
// Rewrites a model in the weight format that the CPU multiplies fastest.
#include <llama.h>

#include <cstdio>
#include <string_view>

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: %s IN.gguf OUT.gguf bf16|q8_0\n", argv[0]);
        return 2;
    }
    const bool bf16 = std::string_view(argv[3]) == "bf16";
    llama_backend_init();
    llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = bf16 ? LLAMA_FTYPE_MOSTLY_BF16 : LLAMA_FTYPE_MOSTLY_Q8_0;
    params.allow_requantize = true;
    const auto code = llama_model_quantize(argv[1], argv[2], &params);
    llama_backend_free();
    return code == 0 ? 0 : 1;
}
