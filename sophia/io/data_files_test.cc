#include "sophia/io/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error_for_test.h"
#include "sophia/base/file.h"

namespace sophia::io {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

class DataFilesTest : public testing::Test {
 protected:
  const std::filesystem::path& folder() const { return folder_.path(); }
  void Make(std::initializer_list<const char*> names) {
    for (const char* name : names) {
      std::filesystem::create_directories((folder() / name).parent_path());
      WriteFile(folder() / name, "");
    }
  }
  std::vector<std::string> Names(const std::vector<std::filesystem::path>& files) const {
    std::vector<std::string> names;
    for (const auto& file : files) names.push_back(file.lexically_relative(folder()).string());
    return names;
  }
  std::vector<std::string> Train() const { return Names(FindDataFiles(folder()).train); }
  std::vector<std::string> Valid() const { return Names(FindDataFiles(folder()).valid); }

 private:
  TemporaryFolder folder_;
};

TEST_F(DataFilesTest, AFileStandsForItself) {
  EXPECT_THAT(FindDataFiles("x.parquet").train, ElementsAre("x.parquet"));
  EXPECT_THAT(FindEvaluationFiles("x.jsonl"), ElementsAre("x.jsonl"));
}

TEST_F(DataFilesTest, FoldersHaveNamesForTheirParts) {
  EXPECT_THAT(MessageOf([&] { FindDataFiles(folder()); }),
              EndsWith("expected a folder with train.jsonl or train.parquet, got one without"));
  EXPECT_THAT(MessageOf([&] { FindEvaluationFiles(folder()); }),
              EndsWith("expected a folder with valid.jsonl or valid.parquet, got one without"));
  Make({"data/train.jsonl"});
  EXPECT_THAT(Train(), ElementsAre("data/train.jsonl"));
  Make({"train.parquet", "validation.parquet"});
  EXPECT_THAT(Train(), ElementsAre("train.parquet"));
  EXPECT_THAT(Valid(), ElementsAre("validation.parquet"));
  Make({"train.json", "valid.parquet"});
  EXPECT_THAT(Train(), ElementsAre("train.json"));
  EXPECT_THAT(Valid(), ElementsAre("valid.parquet"));
  Make({"train.jsonl", "validation.jsonl", "test.jsonl"});
  EXPECT_THAT(Train(), ElementsAre("train.jsonl"));
}

TEST_F(DataFilesTest, FilesInPartsAreReadInTheirOrder) {
  Make({"data/train-00001-of-00003.parquet", "data/train-00000-of-00003-a09b74b3ef9c3b56.parquet",
        "data/train-00002-of-00003.parquet", "data/test-00000-of-00001.parquet"});
  EXPECT_THAT(Train(), ElementsAre("data/train-00000-of-00003-a09b74b3ef9c3b56.parquet",
                                   "data/train-00001-of-00003.parquet",
                                   "data/train-00002-of-00003.parquet"));
  EXPECT_THAT(Valid(), IsEmpty());
}

TEST_F(DataFilesTest, PartsThatDoNotBelongTogetherAreRefused) {
  Make({"train-00000-of-00003.parquet", "train-00002-of-00003.parquet"});
  EXPECT_THAT(
      MessageOf([&] { FindDataFiles(folder()); }),
      HasSubstr("expected all files train-00000-of-00003.parquet and so on, got 2 of them"));
  Make({"train-00001-of-00003.parquet", "train-00001-of-00003-0a.parquet"});
  EXPECT_THAT(MessageOf([&] { FindDataFiles(folder()); }),
              HasSubstr("expected one file train-00001-of-00003.parquet, got "));
  std::filesystem::remove(folder() / "train-00001-of-00003-0a.parquet");
  EXPECT_EQ(Train().size(), 3u);
  Make({"train-00003-of-00004.parquet"});
  EXPECT_THAT(MessageOf([&] { FindDataFiles(folder()); }), HasSubstr("got 4 of them"));
}

}  // namespace
}  // namespace sophia::io
