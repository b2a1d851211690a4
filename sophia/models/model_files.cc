#include "sophia/models/model_files.h"

#include "sophia/base/error.h"
#include "sophia/io/convert.h"
#include "sophia/io/gguf.h"
#include "sophia/io/safetensors.h"
#include "sophia/models/gguf_llama.h"
#include "sophia/quant/quantise.h"

namespace sophia::models {
namespace fs = std::filesystem;

ModelFiles ModelFiles::Open(const fs::path& path) {
  ModelFiles files = OpenConfig(path);
  if (!files.is_gguf_) files.tensors_ = io::OpenTensors(path);
  return files;
}

ModelFiles ModelFiles::OpenConfig(const fs::path& path) {
  ModelFiles files;
  files.path_ = path;
  if (!fs::exists(path)) {
    Fail(path.string(), "expected a GGUF file or a model folder, got nothing there");
  }
  if (fs::is_directory(path)) {
    files.config_ = ReadJson(path / "config.json");
    files.bitsandbytes_ = TakeBitsandbytesConfig(files.config_, files.config_name());
    return files;
  }
  auto gguf = std::make_unique<io::GgufFile>(path);
  const auto architecture = gguf->metadata().Require<std::string>("general.architecture");
  if (architecture != "llama") {
    Fail(path.string(), "expected the architecture llama, got '{}'", architecture);
  }
  files.config_ = LlamaConfigFromGguf(*gguf);
  files.tensors_ = std::move(gguf);
  files.is_gguf_ = true;
  return files;
}

std::string ModelFiles::config_name() const {
  return is_gguf_ ? path_.string() : (path_ / "config.json").string();
}

bool ModelFiles::HasTokenizer() const {
  if (!is_gguf_) return fs::exists(path_ / "tokenizer.json");
  const auto& gguf = static_cast<const io::GgufFile&>(*tensors_);
  return gguf.metadata().Find<std::string>("tokenizer.ggml.model").has_value();
}

io::Tokenizer ModelFiles::LoadTokenizer() const {
  if (!is_gguf_) return io::Tokenizer::FromFolder(path_);
  const auto& gguf = static_cast<const io::GgufFile&>(*tensors_);
  return io::Tokenizer::FromGguf(io::ReadGgufTokenizer(gguf.metadata()), path_.string());
}

std::string ModelFiles::NameOf(const nn::ParamSpec& spec, int64_t layer) const {
  const std::string path = spec.SourceOf(layer);
  return is_gguf_ ? LlamaGgufName(path) : path;
}

std::optional<int64_t> ModelFiles::StoredPairs(const std::string& path) const {
  if (!is_gguf_) return std::nullopt;
  return PairedHeads(config_, path, config_name());
}

std::vector<io::TensorInfo> ModelFiles::WholeTensors() const {
  return bitsandbytes_ ? models::WholeTensors(*tensors_) : tensors_->tensors();
}

std::optional<BitsandbytesWeight> ModelFiles::FindQuantised(const std::string& name,
                                                            const Dims& dims) const {
  if (!bitsandbytes_) return std::nullopt;
  std::optional<BitsandbytesWeight> weight = FindBitsandbytesWeight(*tensors_, name);
  if (weight && weight->dims != dims) {
    Fail(tensors_->path().string(), "expected '{}' of sizes {}, got {}", name, ToString(dims),
         ToString(weight->dims));
  }
  return weight;
}

const quant::PackedFormat* ModelFiles::LayerFormat(const nn::ParamSpec& spec, int64_t layer) const {
  const std::string name = NameOf(spec, layer);
  if (bitsandbytes_ && tensors_ == nullptr) {
    const bool is_skipped = bitsandbytes_->Skips(name.substr(0, name.rfind('.')));
    return is_skipped ? nullptr
                      : quant::FindPackedFormat(bitsandbytes_->is_nested ? "nf4" : "nf4_plain");
  }
  if (bitsandbytes_) {
    const auto weight = FindQuantised(name, spec.dims);
    return weight ? &weight->stored.Format() : nullptr;
  }
  const io::TensorInfo* info = tensors_->Find(name);
  const bool fits = info != nullptr && info->shape.dims == spec.dims;
  return fits ? quant::FindPackedFormat(info->storage) : nullptr;
}

const quant::PackedFormat* ModelFiles::StoredFormat(const nn::ParamSpec& spec) const {
  if (!is_gguf_ && !bitsandbytes_) return nullptr;
  const quant::PackedFormat* format = nullptr;
  for (const int64_t layer : spec.PresentLayers()) {
    const quant::PackedFormat* found = LayerFormat(spec, layer);
    if (found == nullptr) return nullptr;
    format = format == nullptr ? found : quant::CommonFormat(*format, *found);
    if (format == nullptr) return nullptr;
  }
  return quant::CanPack(*format, spec.dims) ? format : nullptr;
}

void ModelFiles::Read(const nn::ParamSpec& spec, int64_t layer, std::span<std::byte> out) const {
  SOPHIA_CHECK(spec.packed.format == nullptr, "{} is packed", spec.path);
  ReadAs(spec, layer, {spec.dtype, spec.dims}, out);
}

void ModelFiles::ReadAs(const nn::ParamSpec& spec, int64_t layer, const Shape& shape,
                        std::span<std::byte> out) const {
  const std::string name = NameOf(spec, layer);
  if (const auto weight = FindQuantised(name, shape.dims)) {
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    quant::DequantiseNf4(weight->stored, values);
    io::ConvertElements(DType::kF32, std::as_bytes(std::span(values)).data(), shape.elements(),
                        shape.dtype, out.data(), name);
    return ReleaseBitsandbytesWeight(*tensors_, name);
  }
  const io::TensorInfo& info = tensors_->Get(name);
  if (info.shape.dims != shape.dims) {
    Fail(tensors_->path().string(), "expected '{}' of sizes {}, got {}", name, ToString(shape.dims),
         ToString(info.shape.dims));
  }
  tensors_->Read(name, shape.dtype, out);
  if (const std::optional<int64_t> heads = StoredPairs(spec.path)) {
    UnpairRows(out, *heads, out.size() / static_cast<size_t>(shape.dims[0]));
  }
}

void ModelFiles::ReadPacked(const nn::ParamSpec& first, int64_t layer, quant::PartBytes out) const {
  const std::string name = NameOf(first, layer);
  const quant::PackedFormat& format = *first.packed.format;
  const Dims& dims = first.packed.unpacked.dims;
  const std::string where = fmt::format("{}: {}", tensors_->path().string(), name);
  if (const auto weight = FindQuantised(name, dims)) {
    if (quant::CommonFormat(weight->stored.Format(), format) == &format) {
      quant::PackNf4(weight->stored, format, dims, out);
      return ReleaseBitsandbytesWeight(*tensors_, name);
    }
  }
  if (format.is_quantised) {
    std::vector<float> values(static_cast<size_t>(Product(dims)));
    ReadAs(first, layer, {DType::kF32, dims}, std::as_writable_bytes(std::span(values)));
    return quant::Quantise(format, dims, values, out, where);
  }
  const std::span<const std::byte> blocks = tensors_->Stored(name);
  const quant::PackedFormat& stored = *quant::FindPackedFormat(tensors_->Get(name).storage);
  if (const std::optional<int64_t> heads = StoredPairs(first.path)) {
    std::vector<std::byte> rows(blocks.begin(), blocks.end());
    UnpairRows(rows, *heads, rows.size() / static_cast<size_t>(dims[0]));
    quant::PackBlocks(stored, format, dims, rows, out, where);
  } else {
    quant::PackBlocks(stored, format, dims, blocks, out, where);
  }
  tensors_->Release(name);
}

}  // namespace sophia::models
