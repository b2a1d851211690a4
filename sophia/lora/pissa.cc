#include "sophia/lora/pissa.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "sophia/base/error.h"
#include "sophia/base/sha256.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/io/safetensors.h"
#include "sophia/lora/module_scale.h"
#include "sophia/lora/peft.h"
#include "sophia/lora/singular.h"
#include "sophia/runtime/program.h"

namespace sophia::lora {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kA = ".lora_A.weight";
constexpr int64_t kOversampling = 10;
constexpr int64_t kMostIterations = 100;
constexpr double kSettled = 1e-6;

using Floats = std::vector<float>;

// A linear layer with a branch: places in the model's specs.
struct Branch {
  std::string module;  // with "{}" for the layer
  size_t weight = 0;
  size_t a = 0;
  size_t b = 0;
};

std::vector<Branch> BranchesOf(const std::vector<nn::ParamSpec>& specs) {
  const auto place = [&](const std::string& path) {
    const auto found = std::ranges::find(specs, path, &nn::ParamSpec::path);
    SOPHIA_CHECK(found != specs.end(), "no parameter '{}'", path);
    return static_cast<size_t>(found - specs.begin());
  };
  std::vector<Branch> branches;
  for (size_t i = 0; i < specs.size(); ++i) {
    const std::string& path = specs[i].path;
    if (!specs[i].trainable || !path.ends_with(kA)) continue;
    const std::string module = path.substr(0, path.size() - kA.size());
    Branch branch{module, place(module + ".weight"), i, place(module + ".lora_B.weight")};
    if (specs[branch.weight].packed.format != nullptr) {
      Fail("init_lora_weights",
           "expected weights that are not packed (--quant none) for PiSSA, whose residual would be "
           "rounded anew, so that the saved adapter would not fit the packed model, got {} in {}",
           module, specs[branch.weight].packed.format->name);
    }
    branches.push_back(std::move(branch));
  }
  return branches;
}

std::string ModuleOf(const nn::ParamSpec& a, int64_t layer) {
  const std::string path = a.PathOf(layer);
  return path.substr(0, path.size() - kA.size());
}

int64_t LayersOf(const nn::ParamSpec& spec) { return std::max<int64_t>(spec.layers, 1); }

// With the axis of layers in front.
Dims Stacked(const nn::ParamSpec& spec, const Dims& dims) {
  Dims stacked = {LayersOf(spec)};
  stacked.insert(stacked.end(), dims.begin(), dims.end());
  return stacked;
}

// X·W or X·Wᵀ for each layer's W [out, in], in f32. Inputs: W, X [L, q, out or in].
class Multiplier {
 public:
  Multiplier(const pjrt::Buffer& weight, const nn::ParamSpec& spec, int64_t rows, bool transposed)
      : weight_(weight), dims_(Stacked(spec, {rows, spec.dims[transposed ? 1 : 0]})) {
    Graph graph;
    const Tensor w = graph.AddInput(weight.shape(), {.name = "weight"});
    const Tensor x = graph.AddInput({DType::kF32, dims_}, {.name = "x"});
    const Tracing tracing(graph);
    const ScanResult products = Scan(
        [&](std::span<const Tensor>, std::span<const Tensor> slices) -> ScanStep {
          const MatMulOptions options{.transposed = transposed, .precision = Precision::kHighest};
          return {{}, {MatMul(slices[1], Convert(slices[0], DType::kF32), options)}};
        },
        {}, {Reshape(w, Stacked(spec, spec.dims)), x});
    graph.AddOutput(products.ys[0], {.name = "product"});
    program_.emplace(
        Program::Compile(weight.client(), graph, {.name = "pissa", .device = weight.device()}));
  }

  // [L][q, out or in] -> [L][q, in or out].
  std::vector<Rows> operator()(const std::vector<Rows>& x) {
    Floats flat;
    for (const Rows& rows : x) {
      for (const Row& row : rows) flat.insert(flat.end(), row.begin(), row.end());
    }
    pjrt::Buffer given = pjrt::Buffer::FromHost(weight_.device(), {DType::kF32, dims_}, flat);
    auto* weight = const_cast<pjrt::Buffer*>(&weight_);
    const std::vector<pjrt::Buffer> results = program_->Run(std::vector{weight, &given});
    const Floats product = results[0].ToVector<float>();
    const auto columns = static_cast<size_t>(results[0].shape().dims.back());
    std::vector<Rows> out(x.size());
    auto next = product.begin();
    for (size_t layer = 0; layer < x.size(); ++layer) {
      for (size_t i = 0; i < x[layer].size(); ++i) {
        const auto end = next + static_cast<std::ptrdiff_t>(columns);
        out[layer].emplace_back(next, end);
        next = end;
      }
    }
    return out;
  }

 private:
  const pjrt::Buffer& weight_;
  Dims dims_;
  std::optional<Program> program_;
};

Rows RandomRows(int64_t count, int64_t size, const std::string& name) {
  const std::string digest = Sha256Hex(name);
  std::mt19937_64 random(std::stoull(digest.substr(0, 16), nullptr, 16));
  const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1.0p-53; };
  Rows rows(static_cast<size_t>(count), Row(static_cast<size_t>(size)));
  for (Row& row : rows) {
    for (double& value : row) value = 2 * uniform() - 1;
  }
  return rows;
}

// The leading singular values and vectors of every layer's weight.
class PrincipalPart {
 public:
  PrincipalPart(const pjrt::Buffer& weight, const nn::ParamSpec& spec, int64_t rank)
      : rows_(std::min({rank + kOversampling, spec.dims[0], spec.dims[1]})),
        to_out_(weight, spec, rows_, true),
        to_in_(weight, spec, rows_, false),
        spec_(spec) {}

  struct Layer {
    Svd svd;    // of Q·W: its right vectors are those of W
    Rows left;  // row i: the i-th left singular vector of W, [q, out]
  };
  std::vector<Layer> Find(int64_t iterations, int64_t rank, uint64_t seed) {
    std::vector<Rows> x;
    for (int64_t layer = 0; layer < LayersOf(spec_); ++layer) {
      x.push_back(
          RandomRows(rows_, spec_.dims[1], fmt::format("{}:{}", seed, spec_.PathOf(layer))));
    }
    const int64_t most = iterations > 0 ? iterations : kMostIterations;
    std::vector<Layer> layers;
    for (int64_t i = 0; i <= most; ++i) {
      std::vector<Rows> q = to_out_(x);
      for (Rows& rows : q) Orthonormalize(rows);
      x = to_in_(q);
      const std::vector<Layer> before = std::move(layers);
      layers.clear();
      const bool is_last = i == most;
      if (iterations == 0 || is_last) {
        for (size_t layer = 0; layer < q.size(); ++layer)
          layers.push_back(Split(q[layer], x[layer]));
      }
      if (iterations == 0 && !before.empty() && Settled(before, layers, rank)) break;
      for (Rows& rows : x) Orthonormalize(rows);
    }
    return layers;
  }

 private:
  static Layer Split(const Rows& q, const Rows& product) {
    Layer layer{.svd = SvdOfFewRows(product), .left = {}};
    for (const Row& vector : layer.svd.left) {
      Row left(q[0].size(), 0.0);
      for (size_t j = 0; j < q.size(); ++j) {
        for (size_t i = 0; i < left.size(); ++i) left[i] += vector[j] * q[j][i];
      }
      layer.left.push_back(std::move(left));
    }
    return layer;
  }

  static bool Settled(const std::vector<Layer>& before, const std::vector<Layer>& now,
                      int64_t rank) {
    for (size_t layer = 0; layer < now.size(); ++layer) {
      const std::vector<double>& values = now[layer].svd.values;
      for (size_t i = 0; i < std::min(values.size(), static_cast<size_t>(rank)); ++i) {
        const double moved = std::abs(values[i] - before[layer].svd.values[i]);
        if (moved > kSettled * values[0]) return false;
      }
    }
    return true;
  }

  int64_t rows_;
  Multiplier to_out_;
  Multiplier to_in_;
  const nn::ParamSpec& spec_;
};

// scale of each layer and column of B, zero beyond a layer's rank and where there is no branch.
Floats ScaleRows(const ModuleScales& scales, const nn::ParamSpec& a) {
  Floats rows(static_cast<size_t>(LayersOf(a) * a.dims[0]), 0.0f);
  for (const int64_t layer : a.PresentLayers()) {
    const ModuleScale own = scales.Of(ModuleOf(a, layer));
    std::fill_n(rows.begin() + layer * a.dims[0], own.rank, static_cast<float>(own.scale));
  }
  return rows;
}

// The parts of a doubled factor in one layer: rows of A, columns of B.
bool IsA(const nn::ParamSpec& spec) { return spec.path.ends_with(kA); }

Dims Doubled(const nn::ParamSpec& spec, Dims dims) {
  dims[IsA(spec) ? 0 : 1] *= 2;
  return dims;
}

LoraConfig Doubled(LoraConfig config) {
  const double more = config.rs_lora ? std::sqrt(2.0) : 2;
  config.rank *= 2;
  config.alpha *= more;
  for (auto& [pattern, rank] : config.rank_pattern) rank *= 2;
  for (auto& [pattern, alpha] : config.alpha_pattern) alpha *= more;
  config.init = LoraInit::kDefault;
  return config;
}

// Copies half 0 or 1 of a doubled factor [2r, in] or [out, 2r], in rows of `wide_columns`, to or
// from a factor of sizes `dims` in rows of `columns`; the second half of B has the other sign.
void CopyHalf(const nn::ParamSpec& spec, const Dims& dims, int half, float* wide,
              int64_t wide_columns, float* factor, int64_t columns, bool to_wide) {
  const bool is_a = IsA(spec);
  const float sign = half == 1 && !is_a ? -1.0f : 1.0f;
  for (int64_t row = 0; row < dims[0]; ++row) {
    const int64_t wide_row = is_a ? row + half * dims[0] : row;
    float* at = wide + wide_row * wide_columns + (is_a ? 0 : half * dims[1]);
    float* own = factor + row * columns;
    for (int64_t i = 0; i < dims[1]; ++i)
      (to_wide ? at[i] : own[i]) = sign * (to_wide ? own[i] : at[i]);
  }
}

}  // namespace

void SetPrincipalFactors(const LoraConfig& config, const std::vector<nn::ParamSpec>& specs,
                         uint64_t seed, std::vector<pjrt::Buffer>& buffers) {
  const ModuleScales scales(config);
  for (const Branch& branch : BranchesOf(specs)) {
    const nn::ParamSpec &a = specs[branch.a], &b = specs[branch.b];
    const int64_t rank = a.dims[0];
    const int64_t least = std::min(a.dims[1], b.dims[0]);
    if (rank > least) {
      Fail("lora_r", "expected a rank of at most {} for PiSSA of {}, got {}", least, branch.module,
           rank);
    }
    PrincipalPart part(buffers[branch.weight], specs[branch.weight], rank);
    const auto layers = part.Find(config.pissa_iterations, rank, seed);
    Floats of_a(static_cast<size_t>(a.shape().elements()), 0.0f);
    Floats of_b(static_cast<size_t>(b.shape().elements()), 0.0f);
    for (const int64_t layer : a.PresentLayers()) {
      const ModuleScale own = scales.Of(ModuleOf(a, layer));
      const auto& found = layers[static_cast<size_t>(layer)];
      for (int64_t k = 0; k < own.rank; ++k) {
        const auto i = static_cast<size_t>(k);
        const double root = std::sqrt(found.svd.values[i] / own.scale);
        for (int64_t j = 0; j < a.dims[1]; ++j) {
          of_a[static_cast<size_t>((layer * rank + k) * a.dims[1] + j)] =
              static_cast<float>(root * found.svd.right[i][static_cast<size_t>(j)]);
        }
        for (int64_t j = 0; j < b.dims[0]; ++j) {
          of_b[static_cast<size_t>((layer * b.dims[0] + j) * rank + k)] =
              static_cast<float>(root * found.left[i][static_cast<size_t>(j)]);
        }
      }
    }
    const pjrt::Device device = buffers[branch.weight].device();
    buffers[branch.a] = pjrt::Buffer::FromHost(device, a.shape(), of_a);
    buffers[branch.b] = pjrt::Buffer::FromHost(device, b.shape(), of_b);
  }
}

void SubtractFactors(const LoraConfig& config, const std::vector<nn::ParamSpec>& specs,
                     std::vector<pjrt::Buffer>& buffers) {
  const ModuleScales scales(config);
  for (const Branch& branch : BranchesOf(specs)) {
    const nn::ParamSpec &w = specs[branch.weight], &a = specs[branch.a], &b = specs[branch.b];
    Graph graph;
    const Tensor weight = graph.AddInput(w.shape(), {.name = "weight"});
    const Tensor left = graph.AddInput(a.shape(), {.name = "a"});
    const Tensor right = graph.AddInput(b.shape(), {.name = "b"});
    const Shape rows{DType::kF32, {LayersOf(a), a.dims[0]}};
    const Tensor scale = graph.AddInput(rows, {.name = "scale"});
    {
      const Tracing tracing(graph);
      const ScanResult rest = Scan(
          [&](std::span<const Tensor>, std::span<const Tensor> x) -> ScanStep {
            const Tensor product = MatMul(x[2] * x[3], x[1], {.precision = Precision::kHighest});
            return {{}, {Convert(Convert(x[0], DType::kF32) - product, x[0].dtype())}};
          },
          {},
          {Reshape(weight, Stacked(w, w.dims)), Reshape(left, Stacked(a, a.dims)),
           Reshape(right, Stacked(b, b.dims)), scale});
      graph.AddOutput(Reshape(rest.ys[0], w.shape().dims), {.name = "rest", .aliases_input = 0});
    }
    pjrt::Buffer& given = buffers[branch.weight];
    const Program program =
        Program::Compile(given.client(), graph, {.name = "pissa_rest", .device = given.device()});
    pjrt::Buffer factors = pjrt::Buffer::FromHost(given.device(), rows, ScaleRows(scales, a));
    given = std::move(
        program.Run(std::vector{&given, &buffers[branch.a], &buffers[branch.b], &factors})[0]);
  }
}

void LoadPissa(const fs::path& folder, PissaPart part, const std::vector<nn::ParamSpec>& specs,
               std::vector<pjrt::Buffer>& buffers) {
  const io::SafetensorsFile file(folder / "adapter_model.safetensors");
  for (size_t i = 0; i < specs.size(); ++i) {
    const nn::ParamSpec& spec = specs[i];
    if (!spec.trainable) continue;
    Floats values(static_cast<size_t>(spec.shape().elements()), 0.0f);
    for (const int64_t layer : spec.PresentLayers()) {
      const std::string name = AdapterModule(spec.PathOf(layer));
      const Dims wide = Doubled(spec, spec.DimsOf(layer));
      if (file.Get(name).shape.dims != wide) {
        Fail(file.path().string(), "expected '{}' of sizes {} for this model, got {}", name,
             ToString(wide), ToString(file.Get(name).shape.dims));
      }
      Floats stored(static_cast<size_t>(Product(wide)));
      file.Read(name, DType::kF32, std::span(stored));
      CopyHalf(spec, spec.DimsOf(layer), part == PissaPart::kInitial ? 1 : 0, stored.data(),
               wide[1], values.data() + layer * Product(spec.dims), spec.dims[1], false);
    }
    buffers[i] = pjrt::Buffer::FromHost(buffers[i].device(), spec.shape(), values);
  }
}

void SavePissa(const fs::path& folder, const LoraConfig& config,
               const std::vector<nn::ParamSpec>& specs,
               std::span<const std::vector<std::byte>> trainable,
               std::span<const std::vector<std::byte>> initial, const std::string& base_model) {
  std::vector<nn::ParamSpec> doubled;
  std::vector<std::vector<std::byte>> arrays;
  for (const nn::ParamSpec& spec : specs) {
    if (!spec.trainable) continue;
    nn::ParamSpec& wide = doubled.emplace_back(spec);
    wide.dims = Doubled(spec, spec.dims);
    for (Dims& dims : wide.layer_dims) dims = Doubled(spec, dims);
    std::vector<std::byte>& array = arrays.emplace_back(static_cast<size_t>(wide.shape().bytes()));
    const size_t place = arrays.size() - 1;
    for (const int64_t layer : spec.PresentLayers()) {
      for (int half = 0; half < 2; ++half) {
        Floats values(static_cast<size_t>(Product(spec.dims)));
        const std::vector<std::byte>& from = half == 0 ? trainable[place] : initial[place];
        std::memcpy(values.data(), from.data() + layer * Product(spec.dims) * sizeof(float),
                    values.size() * sizeof(float));
        auto* to = reinterpret_cast<float*>(array.data()) + layer * Product(wide.dims);
        CopyHalf(spec, spec.DimsOf(layer), half, to, wide.dims[1], values.data(), spec.dims[1],
                 true);
      }
    }
  }
  SaveAdapter(folder, Doubled(config), doubled, arrays, base_model);
}

}  // namespace sophia::lora
