// Any bytes as a .safetensors file.
#include "tq/adapters/llama_cpp/safetensors.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const tq::fuzz::scratch_file file{data, size};
    tq::fuzz::survive([&] {
        tq::llama_cpp::safetensors_file read{file.path().string()};
        (void)read.metadata("squash", "none");
        for (const char* name : {"score.weight", "score.bias"}) {
            if (!read.has(name)) continue;
            const auto tensor = read.tensor(name);
            std::size_t count = 1;
            for (const std::size_t length : tensor.shape) count *= length;
            tq::fuzz::require(count == tensor.values.size(), "a tensor has the size of its shape");
        }
    });
    return 0;
}
