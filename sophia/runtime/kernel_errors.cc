#include "sophia/runtime/kernel_errors.h"

#include <string>
#include <string_view>

#include "sophia/base/strings.h"

namespace sophia {
namespace {

using Text = std::string_view;

// What stands behind the first `before` up to the next `after`, which may also be the end.
std::optional<Text> Between(Text text, Text before, Text after) {
  const size_t start = text.find(before);
  if (start == Text::npos) return std::nullopt;
  text.remove_prefix(start + before.size());
  return Trim(text.substr(0, text.find(after)));
}

const Node* FindKernel(const Region& region, Text name) {
  for (const auto& node : region.nodes) {
    if (node->attrs.Has("location") && node->attrs.Get<std::string>("location") == name) {
      return node.get();
    }
    for (const auto& inner : node->regions) {
      if (const Node* found = FindKernel(*inner, name)) return found;
    }
  }
  return nullptr;
}

const Node* FindKernel(const Graph& graph, Text name) {
  const Node* found = FindKernel(graph.main(), name);
  for (const auto& [function, body] : graph.functions()) {
    if (found == nullptr) found = FindKernel(*body, name);
  }
  return found;
}

// `"file.cc":12:0` as "file.cc:12"; nullopt for a place in the kernel's text, `"-":3:5`.
std::optional<std::string> LineIn(Text location) {
  const auto file = Between(location, "\"", "\"");
  const auto line = Between(location, "\":", ":");
  if (!file || !line || *file == "-") return std::nullopt;
  return fmt::format("{}:{}", *file, *line);
}

std::string LineOf(const Node& node) {
  return fmt::format("{}:{}", node.loc.file_name(), node.loc.line());
}

std::optional<Error> RefusalIn(Text message, const Graph& graph) {
  const auto name = Between(message, "TPU kernel with MLIR module name `", "`");
  const Node* kernel = name ? FindKernel(graph, *name) : nullptr;
  const auto reason = Between(message, "HLO name `", "\n");
  if (kernel == nullptr || !reason) return std::nullopt;
  const auto location = Between(message, "at location: loc(", "\n");
  const auto operation = Between(message, "The MLIR operation involved:", "\n\n");
  return Error((location ? LineIn(*location) : std::nullopt).value_or(LineOf(*kernel)),
               fmt::format("kernel '{}': expected what libtpu compiles, got: {}{}", *name,
                           Trim(reason->substr(reason->find("`:") + 2)),
                           operation ? fmt::format(" in {}", *operation) : ""));
}

// The early check names the call, the allocator at the end lists what it placed.
std::optional<Error> OutOfVmemIn(Text message, const Graph& graph) {
  if (message.find("Ran out of memory in memory space vmem") == Text::npos) return std::nullopt;
  const auto name = Between(message, "op_name=\"", "\"");
  const Node* kernel = name ? FindKernel(graph, *name) : nullptr;
  auto size = Between(message, "Scoped allocation with size ", " and");
  auto limit = Between(message, " and limit ", " ");
  if (const size_t used = message.find("Used "); !size && used != Text::npos) {
    size = Between(message.substr(used), "Used ", " of ");
    limit = Between(message.substr(used), " of ", " vmem");
  }
  if (kernel == nullptr || !size || !limit) return std::nullopt;
  return Error(
      LineOf(*kernel),
      fmt::format("kernel '{}': expected at most {} of VMEM, got {} with what libtpu keeps "
                  "beside blocks and scratch; take smaller blocks, or more by "
                  "vmem_limit_bytes where the chip has it",
                  *name, *limit, *size));
}

}  // namespace

std::optional<Error> KernelErrorIn(const pjrt::CallError& error, const Graph& graph) {
  const Text message = error.what();
  if (std::optional<Error> refusal = RefusalIn(message, graph)) return refusal;
  return OutOfVmemIn(message, graph);
}

}  // namespace sophia
