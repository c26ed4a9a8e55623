// Any bytes as a file of prompts.
#include "../../examples/programs/evaluate/config.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const tq::fuzz::scratch_file file{data, size};
    evaluation::config config;
    config.limit = 3;
    config.prompts = file.path();
    tq::fuzz::survive([&] {
        tq::fuzz::require(evaluation::read_prompts(config).size() == 3,
                          "as many prompts as wanted");
    });
    return 0;
}
