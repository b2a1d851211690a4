#include "sophia/report/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "sophia/base/file.h"
#include "sophia/base/process.h"
#include "sophia/base/proto_writer.h"
#include "sophia/report/tfrecord.h"

namespace sophia::report {
namespace fs = std::filesystem;
namespace {

// Numbers of fields and of enums in event.proto and summary.proto.
constexpr int kEventWallTime = 1;
constexpr int kEventStep = 2;
constexpr int kEventFileVersion = 3;
constexpr int kEventSummary = 5;
constexpr int kEventSessionLog = 7;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1;
constexpr int kValueSimpleValue = 2;
constexpr int kSessionLogStatus = 1;
constexpr uint64_t kStatusStart = 1;

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Readers take the files of a folder in the order of their names: by the second, then by number.
fs::path NewPath(const fs::path& folder) {
  MakeWritableFolder(folder);
  const auto second = static_cast<int64_t>(Now());
  const std::string host = HostName();
  for (int number = 0;; ++number) {
    fs::path path = folder / fmt::format("events.out.tfevents.{:010}.{:03}.{}.{}", second, number,
                                         host, getpid());
    bool is_used = false;
    const std::string prefix = fmt::format("events.out.tfevents.{:010}.{:03}.", second, number);
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      is_used = is_used || entry.path().filename().string().starts_with(prefix);
    }
    if (!is_used) return path;
  }
}

ProtoWriter EventAt(int64_t step) {
  ProtoWriter event;
  event.Double(kEventWallTime, Now());
  if (step != 0) event.Int(kEventStep, step);
  return event;
}

std::string TagOf(std::string_view key) {
  constexpr std::string_view kEval = "eval_";
  return key.starts_with(kEval) ? fmt::format("eval/{}", key.substr(kEval.size()))
                                : fmt::format("train/{}", key);
}

}  // namespace

EventFile::EventFile(const fs::path& folder, int64_t first_step) : file_(NewPath(folder), true) {
  ProtoWriter version = EventAt(0);
  version.Bytes(kEventFileVersion, "brain.Event:2");
  ProtoWriter session;
  session.Varint(kSessionLogStatus, kStatusStart);
  ProtoWriter start = EventAt(first_step);
  start.Message(kEventSessionLog, session);
  file_.Append(TfRecord(version.bytes()) + TfRecord(start.bytes()));
}

bool EventFile::Add(const Json& row) {
  ProtoWriter summary;
  for (const auto& [key, number] : row.items()) {
    if (!number.is_number() || key == "step") continue;
    ProtoWriter value;
    value.Bytes(kValueTag, TagOf(key));
    value.Float(kValueSimpleValue, number.get<float>());
    summary.Message(kSummaryValue, value);
  }
  ProtoWriter event = EventAt(row.value("step", int64_t{0}));
  event.Message(kEventSummary, summary);
  return file_.Append(TfRecord(event.bytes()));
}

}  // namespace sophia::report
