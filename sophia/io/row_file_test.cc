#include "sophia/io/row_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sophia/base/error_for_test.h"
#include "sophia/io/fuzz_for_test.h"

namespace sophia::io {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

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
  EXPECT_THAT(FileError("[{\"text\": \"a\"},]", "rows.json"),
              HasSubstr("row 2] expected valid JSON"));
  EXPECT_THAT(FileError("[]", "rows.json"), EndsWith("] expected at least one row, got none"));
}

TEST_F(RowFileTest, GivesRowsInAnyOrderWithTheirPlaces) {
  WriteFile(Path("rows.jsonl"), "\n  {\"text\": \"a\"}\n\n{\"text\": \"b\"}");
  const RowFile file(Path("rows.jsonl"));
  ASSERT_EQ(file.size(), 2u);
  EXPECT_EQ(std::get<TextRow>(file.Get(1)).text, "b");
  EXPECT_EQ(std::get<TextRow>(file.Get(0)).text, "a");
  EXPECT_THAT(file.Where(0), EndsWith("rows.jsonl:2"));
  EXPECT_THAT(file.Where(1), EndsWith("rows.jsonl:4"));
}

TEST_F(RowFileTest, AFileThatShrinksIsAnError) {
  WriteFile(Path("rows.jsonl"), "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
  const RowFile file(Path("rows.jsonl"));
  std::filesystem::resize_file(Path("rows.jsonl"), 20);
  EXPECT_EQ(std::get<TextRow>(file.Get(0)).text, "a");
  EXPECT_THAT(MessageOf([&] { file.Get(1); }), HasSubstr("expected 27 bytes, got 20"));
}

std::vector<std::string> Found(const std::string& text, size_t piece) {
  RowFinder finder("here");
  for (size_t at = 0; at < text.size(); at += piece) finder.Add(text.substr(at, piece));
  std::vector<std::string> rows;
  for (const RowPlace& row : finder.Finish()) rows.push_back(text.substr(row.begin, row.length));
  return rows;
}

// The JSON library is the oracle.
TEST(RowFinderTest, FindsTheElementsOfAnArrayInPiecesOfAnySize) {
  const std::string text =
      " [ {\"a\": [1, {\"b\": \"],\\\"},{\"}]}, \"x,y\\\\\", 7,[],{} , null ]  \n";
  const Json expected = Json::parse(text);
  for (size_t piece = 3; piece < text.size() + 3; ++piece) {
    const std::vector<std::string> rows = Found(text, piece);
    ASSERT_EQ(rows.size(), expected.size()) << piece;
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(Json::parse(rows[i]), expected[i]);
  }
}

TEST(RowFinderTest, FindsLinesInPiecesOfAnySize) {
  const std::string text = "\xEF\xBB\xBF\r\n {\"text\": \"a b\"}\r\n\t\n{}\n{\"t\": 1} ";
  for (size_t piece = 3; piece < text.size() + 3; ++piece) {
    EXPECT_THAT(Found(text, piece),
                testing::ElementsAre("{\"text\": \"a b\"}\r", "{}", "{\"t\": 1} "));
  }
}

TEST(RowFinderTest, RefusesArraysThatAreNone) {
  EXPECT_THAT(MessageOf([] { Found("[{}", 3); }), HasSubstr("that does not end"));
  EXPECT_THAT(MessageOf([] { Found("[{}]x", 3); }), HasSubstr("text behind the array"));
  EXPECT_THAT(Found("[{},]", 8), testing::ElementsAre("{}", ""));
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
