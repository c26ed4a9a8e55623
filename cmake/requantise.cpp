// tq_requantise IN.gguf OUT.gguf bf16|f16|q8_0
//
// Rewrites a model in another weight format.
#include <llama.h>

#include <cstdio>
#include <string_view>

int main(int argc, char** argv) {
    llama_model_quantize_params params = llama_model_quantize_default_params();
    const std::string_view format = argc == 4 ? argv[3] : "";
    if (format == "bf16") {
        params.ftype = LLAMA_FTYPE_MOSTLY_BF16;
    } else if (format == "f16") {
        params.ftype = LLAMA_FTYPE_MOSTLY_F16;
    } else if (format == "q8_0") {
        params.ftype = LLAMA_FTYPE_MOSTLY_Q8_0;
    } else {
        std::fprintf(stderr, "usage: %s IN.gguf OUT.gguf bf16|f16|q8_0\n", argv[0]);
        return 2;
    }
    params.allow_requantize = true;
    llama_backend_init();
    const auto code = llama_model_quantize(argv[1], argv[2], &params);
    llama_backend_free();
    return code == 0 ? 0 : 1;
}
