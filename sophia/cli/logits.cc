#include "sophia/generate/logits.h"

#include <fmt/format.h>

#include "sophia/base/error.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/conversation.h"
#include "sophia/cli/engine.h"
#include "sophia/generate/token_ids.h"
#include "sophia/io/safetensors.h"

namespace sophia::cli {
namespace {

struct Ids {
  std::vector<int32_t> values;
  Dims dims;  // [B, S]
};

Ids ReadIds(const std::string& path) {
  const io::SafetensorsFile file(path);
  const io::TensorInfo& info = file.Get("ids");
  if (!IsInteger(info.shape.dtype) || info.shape.rank() != 2) {
    Fail(path, "expected 'ids' to be integers of sizes [B, S], got {}", ToString(info.shape));
  }
  Ids ids{.values = std::vector<int32_t>(static_cast<size_t>(info.shape.elements())),
          .dims = info.shape.dims};
  file.Read("ids", DType::kS32, std::as_writable_bytes(std::span(ids.values)));
  return ids;
}

Ids GivenIds(const Values& values) {
  if (values.Has("ids") == values.Has("ids_file")) {
    throw UsageError(fmt::format("expected --ids or --ids-file, got {}",
                                 values.Has("ids") ? "both" : "neither"));
  }
  if (values.Has("ids_file")) return ReadIds(values.NeedText("ids_file"));
  Ids ids{.values = IdsFromText(values.NeedText("ids"))};
  ids.dims = {1, static_cast<int64_t>(ids.values.size())};
  return ids;
}

}  // namespace

int RunLogits(const Values& values) {
  const std::string out = values.NeedText("out");
  const Ids ids = GivenIds(values);
  LoadedModel model(values);
  const models::ModelSizes& sizes = model.plan().model->sizes();
  generate::CheckIds(ids.values, sizes.vocab, values.Has("ids") ? "ids" : values.Text("ids_file"));
  const Shape shape{DType::kF32, {ids.dims[0], ids.dims[1], sizes.vocab}};
  io::SafetensorsWriter writer(out, {{"logits", shape}}, {});
  model.Load();
  const std::vector<float> logits = generate::FullLogits(
      model.plan(), model.parameters(),
      {.ids = ids.values, .batch = ids.dims[0], .seq = ids.dims[1]}, model.cache());
  writer.Append(std::as_bytes(std::span(logits)));
  writer.Commit();
  fmt::print("{}: logits {}\n", out, ToString(shape));
  return 0;
}

}  // namespace sophia::cli
