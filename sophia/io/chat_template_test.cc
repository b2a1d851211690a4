#include "sophia/io/chat_template.h"

#include <gtest/gtest.h>

#include <string>

#include "sophia/base/error_for_test.h"

namespace sophia::io {
namespace {

const Json kQuestion = Json::parse(R"([{"role": "user", "content": "Hi"}])");

TEST(ChatTemplate, RendersMessagesWithTokensToolsAndExtras) {
  const ChatTemplate chat(
      "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
      "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}{{ mood }}{{ documents }}",
      {{"bos_token", "^"}, {"eos_token", "$"}});
  EXPECT_EQ(chat.Render(kQuestion), "^<user>Hi$None");
  EXPECT_EQ(chat.Render(kQuestion, {.tools = Json::parse(R"([{"b": 1, "a": "é"}])"),
                                    .add_generation_prompt = true,
                                    .extra = {{"mood", "calm"}}}),
            "^[{\"b\": 1, \"a\": \"é\"}]<user>Hi$<assistant>calmNone");
}

TEST(ChatTemplate, TellsTheGivenTime) {
  const ChatTemplate chat("{{ strftime_now('%d %b %Y %H:%M:%S.%f') }}");
  const std::tm now{
      .tm_sec = 3, .tm_min = 2, .tm_hour = 1, .tm_mday = 31, .tm_mon = 11, .tm_year = 99};
  EXPECT_EQ(chat.Render(kQuestion, {.now = now}), "31 Dec 1999 01:02:03.000000");
  EXPECT_NE(chat.Render(kQuestion), "31 Dec 1999 01:02:03.000000");
}

TEST(ChatTemplate, MarksGenerations) {
  const ChatTemplate plain("{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_FALSE(plain.marks_generations());
  EXPECT_TRUE(plain.RenderMarked(kQuestion).generations.empty());
  const ChatTemplate marked(
      "{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content }}{% endgeneration %}"
      "{% endfor %}");
  EXPECT_TRUE(marked.marks_generations());
  const RenderedChat chat = marked.RenderMarked(kQuestion);
  ASSERT_EQ(chat.generations.size(), 1u);
  EXPECT_EQ(chat.text.substr(chat.generations[0].first), "Hi");
  EXPECT_EQ(chat.generations[0].second, chat.text.size());
}

TEST(ChatTemplate, ErrorsNameTheTemplate) {
  EXPECT_EQ(MessageOf([] { ChatTemplate("{% if %}", {}, "chat_template.jinja"); }),
            "[chat_template.jinja:1] expected an expression, got '%}'");
  EXPECT_EQ(
      MessageOf([] {
        ChatTemplate("\n{{ raise_exception('System role not supported') }}").Render(kQuestion);
      }),
      "[chat template:2] System role not supported");
  Json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = Json::array({deep});
  EXPECT_EQ(MessageOf([&] { ChatTemplate("").Render(deep); }),
            "[chat template] expected a context nested at most 250 deep");
}

}  // namespace
}  // namespace sophia::io
