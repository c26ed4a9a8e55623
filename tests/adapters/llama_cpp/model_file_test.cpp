#include "support/catch.hpp"
#include "support/message.hpp"

#include <string>

#include "shared_model.hpp"

using tq::test::contains;
using tq::test::message_of;
using tq::test::scratch_file;
using tq::test::shared_model;

TEST_CASE("text survives tokens and back, piece by piece as well") {
    const auto& model = shared_model();
    for (const std::string text :
         {"Hello, world", "naïve café", "日本語 です", "🙂🙃 ok", "a\n\n b", ""}) {
        const tq::token_list tokens = model.tokenize(text);
        REQUIRE(model.detokenize(tokens) == text);
        tq::llama_cpp::utf8_stream stream{model};
        std::string streamed;
        for (const tq::token_id token : tokens) streamed += stream.push(token);
        REQUIRE(streamed + stream.finish() == text);
    }
}

TEST_CASE("utf8_buffer holds back what is incomplete and replaces what is broken") {
    tq::llama_cpp::utf8_buffer buffer;
    REQUIRE(buffer.push("a\xE6\x97") == "a");
    REQUIRE(buffer.push("\xA5") == "日");
    REQUIRE(buffer.push("\xFFz") == "\uFFFDz");
    REQUIRE(buffer.push("\xC0\xAF") == "\uFFFD\uFFFD");  // overlong
    REQUIRE(buffer.push("\xED\xA0") == "\uFFFD\uFFFD");  // surrogate
    REQUIRE(buffer.push("\xF0\x9F") == "");
    REQUIRE(buffer.push("x") == "\uFFFD\uFFFDx");
    REQUIRE(buffer.push("\xE2\x82").empty());
    REQUIRE(buffer.finish() == "\uFFFD");
    REQUIRE(buffer.finish().empty());
}

TEST_CASE("the chat template is the model's own, without a system turn unless asked") {
    const auto& model = shared_model();
    const std::string plain = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n";
    REQUIRE(model.chat_text("Hi there") == plain);
    const tq::token_list tokens = model.chat_prompt("Hi there");
    REQUIRE(tokens == model.tokenize(plain, {.parse_special = true}));
    REQUIRE(model.detokenize(tokens, true) == plain);
    REQUIRE(model.chat_text("Hi there", "Be kind.") ==
            "<|im_start|>system\nBe kind.<|im_end|>\n" + plain);
    REQUIRE(contains(model.chat_text(std::string(5000, 'x')), std::string(5000, 'x')));
}

TEST_CASE("a conversation has its turns, and a text with a NUL is refused") {
    const auto& model = shared_model();
    REQUIRE(model.has_chat_template());
    const tq::llama_cpp::chat_turn turns[] = {
        {"system", "Be kind."}, {"user", "Hi"}, {"assistant", "Hello."}, {"user", "Bye"}};
    const std::string text =
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n";
    REQUIRE(model.chat_text(turns) == text);
    REQUIRE(model.chat_prompt(turns) == model.tokenize_prompt(text));
    REQUIRE(contains(message_of<tq::invalid_option>([&] {
                         (void)model.chat_prompt(std::string{"before\0after", 12});
                     }),
                     "NUL"));
}

TEST_CASE("what a model says about itself") {
    const auto& model = shared_model();
    REQUIRE(model.vocab_size() == 49152);
    REQUIRE(model.hidden_size() == 576);
    REQUIRE(model.trained_context() == 8192);
    REQUIRE_FALSE(model.description().empty());
    const tq::token_list end = model.tokenize("<|im_end|>", {.parse_special = true});
    REQUIRE(end.size() == 1);
    REQUIRE(tq::is_end_token(end[0], model.end_tokens()));
    REQUIRE_FALSE(tq::is_end_token(model.tokenize("a")[0], model.end_tokens()));
    REQUIRE(model.piece(end[0]).empty());
    REQUIRE(model.piece(end[0], true) == "<|im_end|>");
    REQUIRE(tq::llama_cpp::same_vocabulary(model, tq::llama_cpp::model_file{model.path()}));
}

TEST_CASE("files and tokens that are wrong are named") {
    const auto load = [](const std::string& path) {
        return message_of<tq::invalid_option>([&] { tq::llama_cpp::model_file{path}; });
    };
    REQUIRE(load("/nowhere/model.gguf") ==
            "model_file: path = /nowhere/model.gguf, must be a file that can be read");
    const scratch_file no_gguf{"hello, this is no model"};
    REQUIRE(contains(load(no_gguf.path()), no_gguf.path()));
    REQUIRE(contains(load(no_gguf.path()), "magic"));
    REQUIRE(message_of<tq::invalid_option>([] { (void)shared_model().piece(49152); }) ==
            "model_file: token = 49152, must be in [0, 49152)");
    REQUIRE(contains(message_of<tq::invalid_option>([] {
                         tq::llama_cpp::model_file{shared_model().path(), {.gpu_layers = -1}};
                     }),
                     "gpu_layers = -1"));
}

TEST_CASE("the log is silent unless asked for") {
    std::string log;
    tq::llama_cpp::set_log([&](std::string_view text) { log += text; });
    const scratch_file no_gguf{"no model"};
    REQUIRE_THROWS_AS(tq::llama_cpp::model_file{no_gguf.path()}, tq::invalid_option);
    tq::llama_cpp::set_log({});
    REQUIRE_FALSE(log.empty());
}
