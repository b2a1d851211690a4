#include <fmt/format.h>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/commands.h"
#include "sophia/merge/gguf_model.h"
#include "sophia/merge/hf_folder.h"

namespace sophia::cli {
namespace fs = std::filesystem;

int RunMerge(const Values& values) {
  const merge::MergedModel model(values.NeedText("model_name_or_path"), values.NeedText("adapter"));
  const fs::path folder = values.NeedText("out");
  merge::WriteFolder(
      model, folder,
      {.dtype = *DTypeFromName(values.Text("dtype")),
       .max_shard_bytes = static_cast<int64_t>(values.Number("max_shard_size") * 1e9)});
  fmt::print("merged model: {} ({} tensors)\n", folder.string(), model.weights().size());
  return 0;
}

int RunExport(const Values& values) {
  const fs::path model = values.NeedText("model_name_or_path");
  const fs::path adapter = values.Text("adapter");
  const fs::path out = values.NeedText("out");
  if (fs::exists(out) && fs::equivalent(out, model)) {
    Fail(out.string(), "expected another file than the model itself, got the same");
  }
  if (fs::is_directory(out)) {
    Fail(out.string(), "expected the name of a file, got a folder");
  }
  if (values.Flag("adapter_only")) {
    if (adapter.empty()) throw UsageError("expected --adapter beside --adapter-only, got none");
    merge::WriteAdapterGguf(model, adapter, out);
  } else {
    merge::WriteGguf(merge::MergedModel(model, adapter), out, values.Text("quantization"));
  }
  fmt::print("GGUF file: {} ({})\n", out.string(),
             HumanBytes(static_cast<double>(fs::file_size(out))));
  return 0;
}

}  // namespace sophia::cli
