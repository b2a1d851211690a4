#include "sophia/io/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sophia/base/error_for_test.h"

namespace sophia::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

Row Parsed(const std::string& text) { return ParseRow(Json::parse(text), "here"); }

template <typename T>
T ParsedAs(const std::string& text) {
  return std::get<T>(Parsed(text));
}

std::string ErrorOf(const std::string& text) {
  return MessageOf([&] { Parsed(text); });
}

TEST(Rows, ContentInPartsIsTheirTexts) {
  const std::string parts = R"([{"type": "text", "text": "a "}, {"type": "text", "text": "b"}])";
  const std::string user = R"([{"role": "user", "content": )" + parts + "}]";
  EXPECT_EQ(ParsedAs<ChatRow>(R"({"messages": )" + user + "}").messages[0]["content"], "a b");
  EXPECT_EQ(ParsedAs<ChatRow>(R"({"conversations": )" + user + "}").messages[0]["content"], "a b");
  const auto pair =
      ParsedAs<PromptCompletionRow>(R"({"prompt": )" + user + R"(, "completion": )" + user + "}");
  EXPECT_EQ(pair.prompt[0]["content"], "a b");
  EXPECT_EQ(pair.completion[0]["content"], "a b");
  EXPECT_EQ(std::get<PromptCompletionRow>(
                ParsePromptRow(Json::parse(R"({"prompt": )" + user + "}"), "here"))
                .prompt[0]["content"],
            "a b");
  const auto none = ParsedAs<ChatRow>(R"({"messages": [{"role": "user", "content": []}]})");
  EXPECT_EQ(none.messages[0]["content"], "");
  const std::string image =
      ErrorOf(R"({"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]})");
  EXPECT_THAT(image, HasSubstr(R"(messages[0].content[0] to be {"type": "text", "text": "…"})"));
  EXPECT_THAT(image, EndsWith("got a part of type \"image\""));
  EXPECT_THAT(ErrorOf(R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})"),
              EndsWith(R"(got {"type":"text"})"));
  EXPECT_THAT(ErrorOf(R"({"messages": [{"role": "user", "content": ["a"]}]})"),
              EndsWith(R"(got "a")"));
}

TEST(Rows, ReadsEveryForm) {
  EXPECT_EQ(ParsedAs<TextRow>(R"({"id": 7, "text": "abc"})").text, "abc");

  const auto chat = ParsedAs<ChatRow>(
      R"({"messages": [{"role": "user", "content": "q", "name": "Ann"}], "tools": [{"x": 1}]})");
  EXPECT_EQ(chat.messages[0]["name"], "Ann");
  EXPECT_EQ(chat.tools[0]["x"], 1);
  EXPECT_TRUE(
      ParsedAs<ChatRow>(R"({"messages": [{"role": "assistant", "tool_calls": [{}]}], "tools": []})")
          .tools.is_null());
  EXPECT_EQ(ParsedAs<ChatRow>(
                R"({"messages": [{"role": "user", "content": ""}], "tools": "[{\"y\": 2}]"})")
                .tools[0]["y"],
            2);

  const auto pair = ParsedAs<PromptCompletionRow>(R"({"prompt": "2+2=", "completion": "4"})");
  EXPECT_EQ(pair.prompt, "2+2=");
  EXPECT_EQ(pair.completion, "4");
  const auto lists = ParsedAs<PromptCompletionRow>(
      R"({"prompt": [{"role": "user", "content": "q"}],
          "completion": [{"role": "assistant", "content": "a"}]})");
  EXPECT_EQ(lists.completion[0]["content"], "a");

  EXPECT_EQ(
      ParsedAs<PromptCompletionRow>(R"({"prompt": "a", "completion": "b", "label": 3})").prompt,
      "a");
  const auto segments = ParsedAs<SegmentsRow>(
      R"({"segments": [{"text": "q", "label": false}, {"text": "a", "label": true}]})");
  ASSERT_EQ(segments.segments.size(), 2u);
  EXPECT_EQ(segments.segments[1].text, "a");
  EXPECT_FALSE(segments.segments[0].learnt);
  EXPECT_TRUE(segments.segments[1].learnt);
  EXPECT_EQ(ParsedAs<ChatRow>(R"({"prompt": "p", "chosen": [], "rejected": [],
                "messages": [{"role": "user", "content": "q"}]})")
                .messages[0]["content"],
            "q");

  const auto tokens = ParsedAs<TokensRow>(
      R"({"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "attention_mask": [1, 1, 0]})");
  EXPECT_THAT(tokens.input_ids, ElementsAre(5, 6, 7));
  EXPECT_THAT(tokens.labels, ElementsAre(-100, 6, 7));
  EXPECT_THAT(tokens.attention_mask, ElementsAre(1, 1, 0));
  EXPECT_TRUE(ParsedAs<TokensRow>(R"({"input_ids": [5]})").labels.empty());
}

TEST(Rows, TurnsOtherChatFormsIntoMessages) {
  EXPECT_EQ(ParsedAs<ChatRow>(R"({"conversations": [
                {"from": "system", "value": "s"}, {"from": "human", "value": "q"},
                {"from": "gpt", "value": "a"}, {"from": "tool", "value": "t"}]})")
                .messages,
            Json::parse(R"([{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"}, {"role": "tool", "content": "t"}])"));
  EXPECT_EQ(
      ParsedAs<ChatRow>(R"({"system": "s", "conversations": [{"role": "user", "content": "q"}]})")
          .messages,
      Json::parse(R"([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}])"));
  EXPECT_EQ(ParsedAs<ChatRow>(R"({"instruction": "add", "input": "1 2", "output": "3",
                "system": "s", "history": [["a", "b"]]})")
                .messages,
            Json::parse(R"([{"role": "system", "content": "s"}, {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"}, {"role": "user", "content": "add\n1 2"},
                {"role": "assistant", "content": "3"}])"));
  EXPECT_EQ(ParsedAs<ChatRow>(R"({"instruction": "go", "input": "", "output": "ok"})").messages,
            Json::parse(R"([{"role": "user", "content": "go"},
                {"role": "assistant", "content": "ok"}])"));
  EXPECT_EQ(ParsedAs<ChatRow>(R"({"question": "q", "answer": "a"})").messages,
            Json::parse(R"([{"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"}])"));
}

TEST(Rows, RejectsWhatIsNoRow) {
  EXPECT_EQ(ErrorOf("[1]"), "[here] expected a row to be an object, got array");
  EXPECT_EQ(ErrorOf(R"({"text": null})"), "[here] expected a value of 'text', got null");
  EXPECT_THAT(ErrorOf(R"({"txt": "a", "id": 1})"),
              AllOf(StartsWith("[here] expected a row with the keys 'messages', "),
                    EndsWith("; got 'txt', 'id'")));
  EXPECT_THAT(ErrorOf("{}"), EndsWith("; got none"));
  EXPECT_THAT(ErrorOf(R"({"text": 5})"), HasSubstr("expected 'text' to be a string, got 5"));
  EXPECT_THAT(ErrorOf(R"({"messages": "hi"})"), HasSubstr("a list of messages, got string"));
  EXPECT_THAT(ErrorOf(R"({"messages": []})"), HasSubstr("at least one message, got none"));
  EXPECT_THAT(ErrorOf(R"({"messages": [1]})"),
              HasSubstr("messages[0] to be an object, got number"));
  EXPECT_THAT(ErrorOf(R"({"messages": [{"content": "x"}]})"),
              HasSubstr("messages[0].role to be a string, got nothing"));
  EXPECT_THAT(ErrorOf(R"({"messages": [{"role": "user"}]})"), HasSubstr("got neither"));
  EXPECT_THAT(ErrorOf(R"({"messages": [{"role": "user", "content": 5}]})"),
              HasSubstr("messages[0].content to be text or parts, got number"));
  EXPECT_THAT(ErrorOf(R"({"messages": [{"role": "user", "content": "x"}], "tools": {}})"),
              HasSubstr("'tools' to be a list, got object"));
  EXPECT_THAT(ErrorOf(R"({"conversations": []})"), HasSubstr("got an empty one"));
  EXPECT_THAT(ErrorOf(R"({"conversations": [{"from": "alien", "value": "x"}]})"),
              HasSubstr("conversations[0].from to be"));
  EXPECT_THAT(ErrorOf(R"({"conversations": [{"from": "human"}]})"), HasSubstr("'value'"));
  EXPECT_THAT(ErrorOf(R"({"prompt": "x", "completion": []})"), HasSubstr("got string and array"));
  EXPECT_THAT(ErrorOf(R"({"prompt": "x", "completion": "y", "label": true})"),
              HasSubstr("got one of KTO"));
  EXPECT_THAT(ErrorOf(R"({"prompt": "x", "chosen": "y", "rejected": "z"})"),
              AllOf(HasSubstr("got a preference ('chosen', 'rejected')"), HasSubstr("DPO")));
  EXPECT_THAT(ErrorOf(R"({"chosen": [], "rejected": []})"), HasSubstr("got a preference"));
  EXPECT_THAT(ErrorOf(R"({"segments": []})"), HasSubstr("got an empty one"));
  EXPECT_THAT(ErrorOf(R"({"segments": [{"text": "x", "label": 1}]})"),
              HasSubstr("[here, segments[0]] expected 'label' to be a boolean, got 1"));
  EXPECT_THAT(ErrorOf(R"({"instruction": "x", "output": "y", "history": [["a"]]})"),
              HasSubstr("list of pairs"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": []})"), HasSubstr("at least one id, got none"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1.5]})"), HasSubstr("'input_ids' to be"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [-1]})"), HasSubstr("of at least 0, got -1"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1], "labels": [1, 2]})"), HasSubstr("(1), got 2"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1], "labels": [-5]})"), HasSubstr("got -5"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1], "attention_mask": [2]})"), HasSubstr("0 or 1, got 2"));
}

TEST(PromptRowsTest, TheAnswerMayBeMissing) {
  const auto messages = [](const Json& row) {
    return std::get<ChatRow>(ParsePromptRow(row, "row")).messages;
  };
  const Json question = Json::array({{{"role", "user"}, {"content", "Why?"}}});
  EXPECT_EQ(messages({{"question", "Why?"}}), question);
  EXPECT_EQ(messages({{"instruction", "Why?"}, {"output", nullptr}}), question);
  EXPECT_EQ(messages({{"messages", question}}), question);
  EXPECT_EQ(messages({{"question", "Why?"}, {"answer", "So."}}).size(), 2u);
  for (const Json& prompt : {Json("Why?"), question}) {
    const auto row = std::get<PromptCompletionRow>(ParsePromptRow({{"prompt", prompt}}, "row"));
    EXPECT_EQ(row.prompt, prompt);
    EXPECT_TRUE(row.completion.is_null());
    EXPECT_THROW(ParseRow({{"prompt", prompt}}, "row"), Error);
  }
  EXPECT_THROW(ParsePromptRow({{"prompt", 3}}, "row"), Error);
  EXPECT_THROW(ParsePromptRow({{"answer", "So."}}, "row"), Error);
  EXPECT_THROW(ParsePromptRow("Why?", "row"), Error);
}

}  // namespace
}  // namespace sophia::io
