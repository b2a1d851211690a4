#include "sophia/io/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sophia/base/error_for_test.h"
#include "sophia/base/file.h"
#include "sophia/io/fuzz_for_test.h"

namespace sophia::io {
namespace {

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

class RowFileTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  std::vector<Row> Read(const std::string& text, const std::string& name = "rows.jsonl") {
    WriteFile(Path(name), text);
    return ReadRows(Path(name));
  }

  std::string FileError(const std::string& text, const std::string& name = "rows.jsonl") {
    return MessageOf([&] { Read(text, name); });
  }

 private:
  TemporaryFolder folder_;
};

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
                R"({"messages": [{"role": "user", "content": []}], "tools": "[{\"y\": 2}]"})")
                .tools[0]["y"],
            2);

  const auto pair = ParsedAs<PromptCompletionRow>(R"({"prompt": "2+2=", "completion": "4"})");
  EXPECT_EQ(pair.prompt, "2+2=");
  EXPECT_EQ(pair.completion, "4");
  const auto lists = ParsedAs<PromptCompletionRow>(
      R"({"prompt": [{"role": "user", "content": "q"}],
          "completion": [{"role": "assistant", "content": "a"}]})");
  EXPECT_EQ(lists.completion[0]["content"], "a");

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
  EXPECT_THAT(ErrorOf(R"({"txt": "a", "id": 1})"),
              testing::AllOf(StartsWith("[here] expected a row with the keys 'messages', "),
                             EndsWith("; got 'txt', 'id'")));
  EXPECT_THAT(ErrorOf("{}"), EndsWith("; got none"));
  EXPECT_THAT(ErrorOf(R"({"text": null})"), EndsWith("; got 'text'"));
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
              HasSubstr("preference row"));
  EXPECT_THAT(ErrorOf(R"({"instruction": "x", "output": "y", "history": [["a"]]})"),
              HasSubstr("list of pairs"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": []})"), HasSubstr("at least one id, got none"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1.5]})"), HasSubstr("'input_ids' to be"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [-1]})"), HasSubstr("of at least 0, got -1"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1], "labels": [1, 2]})"), HasSubstr("(1), got 2"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1], "labels": [-5]})"), HasSubstr("got -5"));
  EXPECT_THAT(ErrorOf(R"({"input_ids": [1], "attention_mask": [2]})"), HasSubstr("0 or 1, got 2"));
}

TEST_F(RowFileTest, ToleratesByteOrderMarkCrlfAndBlankLines) {
  const auto rows = Read("\xEF\xBB\xBF{\"text\": \"a\"}\r\n\r\n   \n{\"text\": \"b\"}\n\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(std::get<TextRow>(rows[1]).text, "b");
  EXPECT_EQ(Read("{\"text\": \"no newline\"}").size(), 1u);
}

TEST_F(RowFileTest, ReadsArrays) {
  EXPECT_EQ(Read(" \n[{\"text\": \"a\"},\n {\"text\": \"b\"}]\n", "rows.json").size(), 2u);
  EXPECT_EQ(Read("\xEF\xBB\xBF[{\"text\": \"a\"}]", "rows.json").size(), 1u);
  EXPECT_THAT(FileError("[{\"text\": \"a\"}, {\"tixt\": 1}]", "rows.json"),
              HasSubstr("rows.json, row 2] expected a row with"));
  EXPECT_THAT(FileError("[{\"text\": \"a\"}", "rows.json"), HasSubstr("expected valid JSON"));
  EXPECT_THAT(FileError("[]", "rows.json"), EndsWith("] expected at least one row, got none"));
}

TEST_F(RowFileTest, CountsLines) {
  WriteFile(Path("rows.jsonl"), "\n{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n");
  RowReader reader(Path("rows.jsonl"));
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.line(), 2);
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.line(), 4);
  EXPECT_FALSE(reader.Next());
}

TEST_F(RowFileTest, ErrorsNameFileAndLine) {
  EXPECT_THAT(FileError("{\"text\": \"a\"}\n{\"text\": \n"),
              HasSubstr("rows.jsonl:2] expected valid JSON"));
  EXPECT_THAT(FileError("\n\n{\"a\": 1}\n"), HasSubstr("rows.jsonl:3] expected a row with"));
  EXPECT_THAT(FileError(""), EndsWith("rows.jsonl] expected at least one row, got none"));
  EXPECT_THAT(FileError("\n \r\n"), EndsWith("] expected at least one row, got none"));
  EXPECT_THROW(ReadRows(Path("missing.jsonl")), Error);
  EXPECT_THROW(ReadRows(Path("")), Error);
}

TEST_F(RowFileTest, SurvivesMutatedFiles) {
  const std::vector<std::string> valid = {
      "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}], \"tools\": \"[]\"}\n"
      "{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}]}\n{\"text\": \"a\"}\n",
      "[{\"prompt\": \"p\", \"completion\": \"c\"}, {\"input_ids\": [1, 2], \"labels\": [-100, "
      "2]}]",
  };
  const Mutator mutator(
      3, {"\"", "{", "}", "[", "]", "null", "-1", "\n", "1e999", "\\ud800", "\"text\":"});
  const FuzzCounts counts =
      FuzzParser(valid, 300, mutator, [&](const std::string& text) { Read(text); });
  EXPECT_GT(counts.accepted, 0);
  EXPECT_GT(counts.rejected, 0);
}

}  // namespace
}  // namespace sophia::io
