// Any bytes as a configuration of `evaluate`.
#include "../../examples/programs/evaluate/config.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const tq::fuzz::scratch_file file{data, size};
    tq::fuzz::survive([&] {
        const evaluation::config config = evaluation::read_config(file.path());
        tq::fuzz::require(!config.methods.empty(), "a configuration that is taken has methods");
    });
    return 0;
}
