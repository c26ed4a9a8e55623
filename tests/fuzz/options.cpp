// Any words as the command line of `generate`.
#include "../../examples/programs/generate/arguments.hpp"

#include <vector>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::vector<std::string> words{"generate"};
    std::string word;
    for (std::size_t i = 0; i < size; ++i) {
        if (data[i] == '\n' || data[i] == 0) {
            words.push_back(word);
            word.clear();
        } else {
            word += static_cast<char>(data[i]);
        }
    }
    words.push_back(word);
    std::vector<char*> argv;
    for (std::string& w : words) {
        if (w.starts_with("-h") || w.starts_with("--help") || w.starts_with("--version")) return 0;
        argv.push_back(w.data());
    }
    argv.push_back(nullptr);
    tq::fuzz::survive([&] { (void)read_arguments(static_cast<int>(words.size()), argv.data()); });
    return 0;
}
