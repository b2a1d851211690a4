#include "sophia/pallas/mosaic.h"

#include <fmt/ranges.h>

#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/printer.h"
#include "sophia/pallas/mosaic_writer.h"

namespace sophia::pallas {
namespace {

constexpr std::string_view kCallTarget = "tpu_custom_call";

std::vector<MosaicWriter::Operand> RefOperands(const Kernel& kernel, size_t count) {
  const MosaicWriter writer(kernel, 0, false);
  std::vector<MosaicWriter::Operand> refs;
  for (size_t i = 0; i < count; ++i) refs.push_back(writer.GetRef(static_cast<int64_t>(i)));
  return refs;
}

std::string Semantics(const KernelSpec& spec) {
  std::vector<std::string> names;
  for (size_t i = 0; i < spec.grid.size(); ++i) {
    const bool parallel = !spec.dimension_semantics.empty() &&
                          spec.dimension_semantics[i] == DimensionSemantics::kParallel;
    names.push_back(
        fmt::format("#tpu.dimension_semantics<{}>", parallel ? "parallel" : "arbitrary"));
  }
  return fmt::format("dimension_semantics = [{}]", fmt::join(names, ", "));
}

// True where no block is fetched while another is computed on.
bool IsSynchronous(const Kernel& kernel, size_t ref) {
  const auto prefetch = static_cast<size_t>(kernel.spec.num_scalar_prefetch);
  if (ref >= kernel.first_output()) {
    return kernel.spec.out_specs[ref - kernel.first_output()].single_buffer;
  }
  return kernel.windows[ref]->is_constant || kernel.spec.in_specs[ref - prefetch].single_buffer;
}

std::string WindowParams(const Kernel& kernel) {
  std::vector<std::string> params;
  for (auto i = static_cast<size_t>(kernel.spec.num_scalar_prefetch); i < kernel.first_scratch();
       ++i) {
    const Window* window = kernel.windows[i].get();
    if (window == nullptr) {
      params.emplace_back("{}");
      continue;
    }
    params.push_back(fmt::format(
        "{{{}transform_indices = @transform_{}, window_bounds = {}}}",
        IsSynchronous(kernel, i) ? "pipeline_mode = #tpu.pipeline_mode<synchronous>, " : "", i,
        I64Array(window->block)));
  }
  return fmt::format("window_params = [{}]", fmt::join(params, ", "));
}

// A function of the program ids and the first `refs` refs; `attributes` without its type.
std::string Function(const Kernel& kernel, const Block& block, size_t refs,
                     std::string_view attributes, const TextOptions& options) {
  MosaicWriter writer(kernel, 1, options.locations);
  writer.OpenBlock(block, RefOperands(kernel, refs));
  std::string text = writer.TakeText();
  writer.Indent();
  writer.PrintInstrs(block);
  std::vector<MosaicWriter::Operand> results;
  for (const Val& result : block.results) results.push_back(writer.Get(result));
  writer.Terminate("func.return", results);
  text += writer.TakeText();
  std::vector<std::string> types(kernel.spec.grid.size(), "i32");
  for (const auto& ref : RefOperands(kernel, refs)) types.push_back(ref.type);
  const std::vector<std::string> result_types(results.size(), "i32");
  return fmt::format(
      "  \"stable_mosaic.func.func\"() ({{\n{}  }}) {{{}, function_type = ({}) -> ({})}} : () -> "
      "()\n",
      text, attributes, fmt::join(types, ", "), fmt::join(result_types, ", "));
}

std::string MainAttributes(const Kernel& kernel) {
  const KernelSpec& spec = kernel.spec;
  std::string text = Semantics(spec);
  if (!spec.grid.empty()) text += ", iteration_bounds = " + I64Array(spec.grid);
  text += fmt::format(
      ", scalar_prefetch = {} : i64, scratch_operands = {} : i64, sym_name = \"{}\", "
      "tpu.core_type = #tpu.core_type<tc>",
      spec.num_scalar_prefetch, spec.scratch_shapes.size(), spec.name);
  if (!spec.grid.empty()) text += ", " + WindowParams(kernel);
  return text;
}

Dims RowMajor(const Shape& shape) {
  Dims layout;
  for (int64_t i = shape.rank() - 1; i >= 0; --i) layout.push_back(i);
  return layout;
}

// Everything in the configuration but the body.
Json ConfigWithoutBody(const Kernel& kernel) {
  Json call = {{"serialization_format", 1}, {"needs_layout_passes", true}};
  if (const auto& cost = kernel.spec.cost_estimate) {
    call["cost_estimate"] = {{"flops", cost->flops},
                             {"transcendentals", cost->transcendentals},
                             {"bytes_accessed", cost->bytes_accessed}};
  }
  Json config = {{"custom_call_config", call}};
  if (kernel.spec.vmem_limit_bytes > 0) {
    config["scoped_memory_configs"] =
        Json::array({{{"memory_space", 1}, {"offset", 0}, {"size", kernel.spec.vmem_limit_bytes}}});
  }
  return config;
}

}  // namespace

std::string MosaicText(const Kernel& kernel, const TextOptions& options) {
  std::string text = fmt::format("module @{} attributes {{stable_mosaic.version = 11 : i64}} {{\n",
                                 kernel.spec.name);
  text += Function(kernel, kernel.body, kernel.refs.size(), MainAttributes(kernel), options);
  for (size_t i = 0; i < kernel.windows.size(); ++i) {
    if (kernel.windows[i] == nullptr) continue;
    text += Function(kernel, *kernel.windows[i]->index_map,
                     static_cast<size_t>(kernel.spec.num_scalar_prefetch),
                     fmt::format("sym_name = \"transform_{}\"", i), options);
  }
  return text + "}\n";
}

std::string BackendConfig(const Kernel& kernel) {
  Json config = ConfigWithoutBody(kernel);
  config["custom_call_config"]["body"] = Base64(MosaicText(kernel, {.locations = true}));
  return Dump(config);
}

bool IsMosaicCall(const Node& node) {
  return node.attrs.Has("target") && node.attrs.Get<std::string>("target") == kCallTarget;
}

std::vector<Tensor> MosaicCall(const Kernel& kernel, const std::vector<Tensor>& inputs, Loc loc) {
  CustomCallOptions options{.backend_config = BackendConfig(kernel),
                            .has_side_effect = kernel.spec.has_side_effects,
                            .name = kernel.spec.name};
  for (const Shape& input : kernel.inputs) options.operand_layouts.push_back(RowMajor(input));
  for (const Shape& output : kernel.spec.out_shapes) {
    options.result_layouts.push_back(RowMajor(output));
  }
  for (const auto& [input, output] : kernel.spec.input_output_aliases) {
    options.output_operand_aliases.emplace_back(output, input);
  }
  return CustomCall(std::string(kCallTarget), inputs, kernel.spec.out_shapes, options, loc);
}

std::string KernelFile(const Kernel& kernel) {
  const auto types = [](const std::vector<Shape>& shapes) {
    std::vector<std::string> names;
    for (const Shape& shape : shapes) names.push_back(RegionPrinter::Type(shape));
    return fmt::format("{}", fmt::join(names, ", "));
  };
  Json aliases = Json::array();
  for (const auto& [input, output] : kernel.spec.input_output_aliases) {
    aliases.push_back({input, output});
  }
  return fmt::format(
      "// name: {}\n// operands: {}\n// results: {}\n// aliases: {}\n// side_effect: {}\n"
      "// config: {}\n{}",
      kernel.spec.name, types(kernel.inputs), types(kernel.spec.out_shapes), Dump(aliases),
      kernel.spec.has_side_effects, Dump(ConfigWithoutBody(kernel)), MosaicText(kernel));
}

}  // namespace sophia::pallas
