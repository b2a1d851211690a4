#include "sophia/models/model_files.h"

#include "sophia/base/error.h"
#include "sophia/io/gguf.h"
#include "sophia/io/safetensors.h"
#include "sophia/models/gguf_llama.h"

namespace sophia::models {
namespace fs = std::filesystem;

ModelFiles ModelFiles::Open(const fs::path& path) {
  ModelFiles files;
  files.path_ = path;
  if (!fs::exists(path)) {
    Fail(path.string(), "expected a GGUF file or a model folder, got nothing there");
  }
  if (fs::is_directory(path)) {
    files.config_ = ReadJson(path / "config.json");
    files.tensors_ = io::OpenTensors(path);
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

io::Tokenizer ModelFiles::LoadTokenizer() const {
  if (!is_gguf_) return io::Tokenizer::FromFolder(path_);
  const auto& gguf = static_cast<const io::GgufFile&>(*tensors_);
  return io::Tokenizer::FromGguf(io::ReadGgufTokenizer(gguf.metadata()), path_.string());
}

void ModelFiles::Read(const nn::ParamSpec& spec, int64_t layer, std::span<std::byte> out) const {
  const std::string path = spec.PathOf(layer);
  const std::string name = is_gguf_ ? LlamaGgufName(path) : path;
  const io::TensorInfo& info = tensors_->Get(name);
  if (info.shape.dims != spec.dims) {
    Fail(tensors_->path().string(), "expected '{}' of sizes {}, got {}", name, ToString(spec.dims),
         ToString(info.shape.dims));
  }
  tensors_->Read(name, spec.dtype, out);
  if (!is_gguf_) return;
  const bool is_q = path.find("self_attn.q_proj") != std::string::npos;
  const bool is_k = path.find("self_attn.k_proj") != std::string::npos;
  if (!is_q && !is_k) return;
  const auto heads = Require<int64_t>(config_, is_q ? "num_attention_heads" : "num_key_value_heads",
                                      config_name());
  UnpairRows(out, heads, out.size() / static_cast<size_t>(spec.dims[0]));
}

}  // namespace sophia::models
